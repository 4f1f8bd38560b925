#!/usr/bin/env bash
# DHCP: the highest rate of four-way exchanges with under one per cent lost, for machines never seen before and for ten
# thousand with reservations; the time an answer takes at half that rate, and the server's CPU for each exchange.
#
# One generator (tests/src/bin/load) for all servers, through 64 relays. Every server keeps its leases on the same disk
# the way it does by default: Muster and ISC sync before an ACK leaves, Kea and dnsmasq do not. Kea has the settings it
# is fastest with (KEA_SOCKET, KEA_THREADS). In all rounds together an address must not have gone to two machines, and
# each reserved machine must have had its own: else the measurement fails.
. "$(dirname "$0")/lib.sh"
begin dhcp
cargo build -q --locked --release -p muster-tests --bin load
cargo build -q --locked --release -p muster-daemon --bin muster --example reserved
network
# shellcheck source=tests/bench/dhcp-servers.sh
. tests/bench/dhcp-servers.sh
seconds=${STRETCH:-2}
peers=${PEERS:-kea isc dnsmasq}

say "# Kea $(kea-dhcp4 -v), $(dhcpd --version 2>&1), $(dnsmasq -v | head -n 1 | cut -d' ' -f1-3), perfdhcp of Kea"
"$LOAD" reservations >"$work/reserved"
ask() { clients "$LOAD" dhcp server=10.0.0.1 "$@"; }

# start SERVER CLIENTS: a server without a lease, once it answers. Its process id is in $launched.
start() {
    local dir=$work/$1-$2 i
    rm -rf "$dir"
    mkdir "$dir"
    "serve_$1" "$2" "$dir"
    for i in $(seq 100); do
        runs "$launched" || break
        if [ "$(ask clients="$2" rate=10 seconds=0.3 | jq .done)" != 0 ]; then return; fi
    done
    tail -n 20 "$dir/log" >&2
    echo "$1 does not answer; its log is $dir/log" >&2
    return 1
}

# figure FILE PATH: the median of one number over all rounds.
figure() { jq "$2 // empty" "$1" | median; }

measure() {
    local server=$1 which=$2 report=$work/$1-$2.json
    start "$server" "$which"
    ask clients="$which" pid="$launched" seconds="$seconds" find=1 >>"$report"
    stop "$launched"
    tail -n 1 "$report" | jq -r --arg who "$server, $which" '"\($who): \(.best.rate)/s held with \(.best.drops * 100 | round / 100) % lost (window: \(.closed)/s), \((.best.server_ms // 0) * 1000 | round) us CPU; at half p99 \(.half.p99_ms) ms"'
}

right() {
    jq -se 'all(.[] | .best, .half, .tried[]; .given_twice == 0 and .wrong == 0)' "$1" >/dev/null ||
        { echo "$1: addresses went to two machines, or to the wrong one" >&2; exit 1; }
}

for which in new reserved; do
    for round in $(seq "$ROUNDS"); do
        for server in $(turns "$round" muster $peers); do measure "$server" "$which"; done
    done
    for server in muster $peers; do right "$work/$server-$which.json"; done
done

command='load dhcp server=10.0.0.1 clients=CLIENTS find=1'
for which in new reserved; do
    ours=$work/muster-$which.json
    rate=$(figure "$ours" .best.rate)
    best=$(for server in $peers; do echo "$(figure "$work/$server-$which.json" .best.rate) $server"; done | sort -g | tail -n 1)
    for server in $peers; do
        theirs=$(figure "$work/$server-$which.json" .best.rate)
        target=''
        if [ "$which" = new ] && [ "$server" = kea ]; then target='>=3'; fi
        if [ "$which" = reserved ] && [ "${best#* }" = "$server" ]; then target='>=2'; fi
        result "dhcp, $which leases, four-way" "1/s" "$rate" "$server" "$theirs" "$target" "${command/CLIENTS/$which}"
    done
    for server in $peers; do
        theirs=$work/$server-$which.json
        result "dhcp, $which leases, p99 at half its rate" ms "$(figure "$ours" .half.p99_ms)" "$server" "$(figure "$theirs" .half.p99_ms)" \
            "$([ "$server" != kea ] || echo '<20')" "${command/CLIENTS/$which}"
        result "dhcp, $which leases, CPU each" ms "$(figure "$ours" .best.server_ms)" "$server" "$(figure "$theirs" .best.server_ms)" '' \
            "${command/CLIENTS/$which}"
    done
done

# What the generator itself can do, and what another one says of a server at the same rate.
measure nothing new
result "dhcp, the generator's own ceiling" "1/s" "$(figure "$work/muster-new.json" .best.rate)" 'no server' \
    "$(figure "$work/nothing-new.json" .best.rate)" '' "${command/CLIENTS/new}"
cross() {
    local server=$1 rate=$2 other
    start "$server" new
    ask clients=new rate="$rate" seconds=4 >"$work/cross.json"
    stop "$launched"
    start "$server" new
    # Its 3 says that not every exchange came to its end: a figure, and no failure.
    other=$({ clients perfdhcp -4 -r "$rate" -R 1000000 -p 4 -W 1000000 -l eth-clients 10.0.0.1 2>&1 || [ $? = 3 ]; } | tee "$work/perfdhcp-$server.log" |
        awk '/^Rate:/ { print $2 }')
    stop "$launched"
    result "dhcp, $server at $rate/s as two generators see it" "1/s" "$(jq .rate "$work/cross.json")" perfdhcp "${other:-null}" '' \
        "perfdhcp -4 -r $rate -R 1000000 -p 4 -l eth-clients 10.0.0.1"
}
# One relay alone may ask us 2,500 times a second, and perfdhcp is one relay.
cross muster 2000
cross kea "$(figure "$work/kea-new.json" .best.rate | awk '{ print int($1 * 0.8) }')"
