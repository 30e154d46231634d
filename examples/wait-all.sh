#!/bin/sh
# Runs one job on every server, waits until all have ended, and prints what each
# has printed.
#
#   echo '{"Path": "/bin/uname", "Args": ["-a"]}' | wait-all.sh
#
# The job is described on standard input, as for 'circuit mkproc'. CIRCUIT names
# a file that holds a server's URL, CIRCUIT_HMAC the circuit's key.
set -eu

job=$(cat)
name=wait-all-$$
servers=$(circuit ls /)

for server in $servers; do
    echo "$job" | circuit mkproc "$server/$name"
    circuit stdin "$server/$name" < /dev/null
done

for server in $servers; do
    echo "$server/$name"
done | circuit waitall

for server in $servers; do
    circuit stdout "$server/$name" | sed "s|^|$server: |"
    circuit scrub "$server/$name"
done
