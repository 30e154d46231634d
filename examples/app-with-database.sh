#!/bin/sh
# An application and its database, each in a container, which meet by name.
#
#   app-with-database.sh [IMAGE]
#
# The database keeps words under names, in files. It is told nothing of the
# application, and the application nothing of where the database is: it asks a name
# server of the circuit for `database.shop`. It counts three visitors, and prints
# what the database says.
#
# IMAGE has a shell with `nc` and `nslookup`: busybox, if nothing is said. One of
# the servers makes containers: it was started with -docker. CIRCUIT names a file
# that holds a server's URL, CIRCUIT_HMAC the circuit's key.
set -eu

image=${1-busybox}
name=shop-$$

# Starts a container at $1, whose shell does what standard input says; $2 is its
# environment.
container() {
    why=$(printf '{"Image": "%s", "Path": "/bin/sh", "Env": [%s]}' "$image" "$2" | circuit mkdkr "$1" 2>&1) &&
        circuit stdin "$1"
}

# What container $1 has of this name, in the words of its engine.
network() {
    circuit peek "$1" | sed -n "s/.*\"$2\": \"\([0-9.]\{1,\}\)\".*/\1/p" | head -n 1
}

shop= why='there is none'
cleanup() {
    trap '' INT TERM
    for element in ${shop:+"$shop/app" "$shop/database" "$shop/names"}; do
        circuit scrub -kill "$element" 2> /dev/null || true
    done
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# The first server that makes containers has all of it: each on its own would do
# where the containers of all hosts share a network.
for server in $(circuit ls /) none; do
    [ "$server" != none ] || { echo "no server has made the database: $why" >&2; exit 1; }
    shop=$server/$name
    container "$shop/database" '' << 'END' && break
mkdir -p /table
cat > /serve << 'SERVE'
read -r word key value
case $word in
set) echo "$value" > "/table/$key" ;;
get) cat "/table/$key" 2> /dev/null || echo 0 ;;
esac
SERVE
trap exit TERM
nc -ll -p 5432 -e /bin/sh /serve &
wait
END
done

# Containers reach their host at the gateway of their network.
circuit mkdns "$shop/names" "$(network "$shop/database" Gateway)"
circuit set "$shop/names" "database.shop. 60 IN A $(network "$shop/database" IPAddress)"
names=$(circuit peek "$shop/names" | sed -n 's/.*"Address": "\(.*\)".*/\1/p')

container "$shop/app" "\"NAMES=$names\"" << 'END'
database=$(nslookup -type=a database.shop "$NAMES" | sed -n 's/^Address: //p')
[ -n "$database" ] || { echo "there is no database.shop" >&2; exit 1; }
echo "database.shop is at $database"
ask() { echo "$*" | nc "$database" 5432; }
until visitors=$(ask get visitors); do sleep 1; done
for visitor in Ann Ben Cleo; do
    visitors=$((visitors + 1))
    ask set visitors "$visitors"
    echo "$visitor is visitor $(ask get visitors)"
done
END
circuit stdout "$shop/app"
circuit stderr "$shop/app" >&2
circuit wait "$shop/app" | grep -q '"Code": 0'
