#!/bin/sh
# Bots that spread over a circuit, keep each other alive, and report home.
#
#   watchbot-with-chan.sh
#
# There is one bot on every server. Each sees to it that there is one on the next
# server, in the order of their ids: it starts it where there is none, starts it
# again when it dies, and looks for a new next whenever servers come and go. So the
# circle closes by itself, whatever is killed, while one bot is left. What they
# report comes back over a channel, and is printed here.
#
# Ends when its input does, or with Ctrl-C, and the bots with it. This script and
# `circuit` are at the same place on all servers. CIRCUIT names a file that holds a
# server's URL, CIRCUIT_HMAC the circuit's key: there as well.
set -u

self=$(readlink -f "$0")
circuit=$(command -v circuit)

# Starts the bot on server $1, unless there is one.
keep() {
    {
        printf '{"Path": "/bin/sh", "Stdin": "null", "Scrub": true, "Args": ["%s", "bot", "%s", "%s"],' "$self" "$1" "$home"
        printf '"Env": ["PATH=%s:/usr/bin:/bin", "CIRCUIT=%s", "CIRCUIT_HMAC=%s"]}' \
            "${circuit%/*}" "$CIRCUIT" "${CIRCUIT_HMAC-}"
    } | circuit mkproc "$1/$name/bot" 2> /dev/null
}

case ${1-} in
'')
    name=watchbot-$$
    home=$(circuit ls / | head -n 1)/$name
    circuit mkchan "$home/reports" 64 || exit
    # All bots watch this process, which ends with what it reads.
    echo '{"Path": "/bin/cat"}' | circuit mkproc "$home/alive" || exit
    while circuit recv "$home/reports" 2> /dev/null; do :; done &
    keep "${home%/*}"

    trap : INT
    circuit stdin "$home/alive"
    trap '' INT
    circuit signal KILL "$home/alive" 2> /dev/null
    # Servers are looked at one after the other, so that a bot can come where was
    # none while the one that makes it goes: they are gone at the second look.
    unseen=0
    while [ "$unseen" -lt 2 ]; do
        unseen=$((unseen + 1))
        for bot in $(circuit ls /... | grep "/$name/bot\$"); do
            unseen=0
            circuit wait "$bot" > /dev/null 2>&1
        done
    done
    circuit close "$home/reports"
    wait
    for element in $(circuit ls /... | grep "/$name/"); do
        circuit scrub "$element"
    done
    ;;
bot)
    here=$2 home=$3 name=${3##*/}
    mine=$here/$name
    # One that was killed has left these behind.
    circuit mk@join "$mine/join" 2> /dev/null
    circuit mk@leave "$mine/leave" 2> /dev/null
    echo "a bot lives on $here" | circuit send "$home/reports"
    while circuit peek "$home/alive" 2> /dev/null | grep -q '"Phase": "running"'; do
        next=$(circuit ls / | awk -v here="$here" '
            NR == 1 { next_one = $0 }
            $0 > here { next_one = $0; exit }
            END { print next_one }')
        [ "$next" = "$here" ] || keep "$next"
        circuit scrub "$mine/first" 2> /dev/null
        {
            printf '[{"Exit": "%s/alive"}, {"Recv": "%s/join"}, {"Recv": "%s/leave"}' "$home" "$mine" "$mine"
            [ "$next" = "$here" ] || printf ', {"Exit": "%s/%s/bot"}' "$next" "$name"
            # The next bot may have ended before this was made.
            echo ', {"After": "5s"}]'
        } | circuit mkselect "$mine/first"
        # What is received is of no interest, but that something has happened.
        circuit wait "$mine/first" > /dev/null 2>&1 && circuit recv "$mine/first" > /dev/null 2>&1
    done
    for element in first join leave; do
        circuit scrub "$mine/$element" 2> /dev/null
    done
    ;;
*)
    echo "usage: watchbot-with-chan.sh" >&2
    exit 2
    ;;
esac
