#!/bin/sh
# Keeps a payload alive on a circuit, whichever process or server dies.
#
#   watchbot.sh start /etc/payload.json   begins, and returns
#   watchbot.sh stop                      ends it all
#
# A bot runs on one server, the payload on another. When the payload dies, or its
# server, the bot starts it again. It keeps an heir, too, on another server, which
# waits for the bot's end and then takes its place.
#
# The payload is described as for 'circuit mkproc', in a file that is at the same
# place on all servers, as this script and `circuit` are. CIRCUIT names a file
# that holds a server's URL, CIRCUIT_HMAC the circuit's key: there as well.
set -u

self=$(readlink -f "$0")
circuit=$(command -v circuit)

# All that there is of it, wherever.
watchbot() {
    circuit ls /... | grep /watchbot/
}

# Describes bot $1 on server $2, which is to wait for the end of what is at $3.
bot() {
    printf '{"Path": "/bin/sh", "Stdin": "null", "Scrub": true, "Args": ["%s", "bot", "%s", "%s", "%s", "%s"],' \
        "$self" "$1" "$2" "$3" "$file"
    printf '"Env": ["PATH=%s:/usr/bin:/bin", "CIRCUIT=%s", "CIRCUIT_HMAC=%s"]}' \
        "${circuit%/*}" "$CIRCUIT" "${CIRCUIT_HMAC-}"
}

# Has something of this name on some server but this one, and says where.
have() {
    place=$(echo "$all" | grep "/watchbot/$1\$" | head -n 1)
    for server in $(circuit ls / | grep -v -x -F "$here"); do
        [ -z "$place" ] || break
        case $1 in
        payload) cat "$file" ;;
        *) bot "${1#bot-}" "$server" "$here/watchbot/bot-$number" ;;
        esac | circuit mkproc --scrub "$server/watchbot/$1" 2> /dev/null && place=$server/watchbot/$1
    done
    echo "$place"
}

case ${1-} in
start)
    file=$(readlink -f "$2")
    server=$(circuit ls / | head -n 1)
    bot 1 "$server" - | circuit mkproc "$server/watchbot/bot-1"
    ;;
stop)
    # There is a mark while that goes on: a bot that sees it ends, and what it has
    # begun until then is ended here.
    mark=$(circuit ls / | head -n 1)/watchbot/stop
    circuit mkchan "$mark" 0 || exit
    # Servers are looked at one after the other, so that a bot can come where was
    # none while the one that makes it goes: they are gone at the second look.
    unseen=0
    while [ "$unseen" -lt 2 ]; do
        all=$(watchbot)
        case $all in
        */watchbot/bot-*) unseen=0 ;;
        *) unseen=$((unseen + 1)) ;;
        esac
        for payload in $(echo "$all" | grep '/watchbot/payload$'); do
            # Whoever waits for its end looks around then.
            circuit scrub -kill "$payload" 2> /dev/null
        done
    done
    circuit scrub "$mark"
    ;;
bot)
    number=$2 here=$3 before=$4 file=$5
    [ "$before" = - ] || circuit wait "$before" > /dev/null 2>&1
    while all=$(watchbot) && ! echo "$all" | grep -q '/watchbot/stop$'; do
        payload=$(have payload)
        heir=$(have "bot-$((number + 1))")
        if [ -n "$payload$heir" ]; then
            # Until one of them ends, or is lost with its server.
            circuit wait -any $payload $heir > /dev/null 2>&1
        else
            sleep 1 # this is the only server
        fi
    done
    ;;
*)
    echo "usage: watchbot.sh start FILE | stop" >&2
    exit 2
    ;;
esac
