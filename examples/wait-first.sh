#!/bin/sh
# Runs one job on every server, prints what the first that ends has printed, and
# ends the others.
#
#   echo '{"Path": "/bin/sh", "Args": ["-c", "look for it; echo found"]}' | wait-first.sh
#
# The job is described on standard input, as for 'circuit mkproc'. CIRCUIT names
# a file that holds a server's URL, CIRCUIT_HMAC the circuit's key.
set -eu

job=$(cat)
name=wait-first-$$
jobs=

for server in $(circuit ls /); do
    echo "$job" | circuit mkproc "$server/$name"
    jobs="$jobs $server/$name"
done

first=$(circuit wait -any $jobs)
echo "first: $first"
circuit stdout "$first"

for job in $jobs; do
    # The first has ended, and others may have since: that is no failure.
    [ "$job" = "$first" ] || circuit signal KILL "$job" 2> /dev/null || true
    circuit scrub "$job"
done
