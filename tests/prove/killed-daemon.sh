#!/usr/bin/env bash
# The daemon is killed twenty times on one machine's way from its discovery into service: in each kind of moment there is,
# and a random while after it. Each time it is started again, at once or some seconds later. The machine is in service all
# the same; and whoever kept a record of their own (chassis, readers of the event stream, agents, DHCP clients) has nothing
# against the log: one order, one write, each act once, no address twice, nothing lost.
#
# KILL_SEED=N draws the same delays again; the moments themselves are the machine's.
. "$(dirname "$0")/lib/scenario.sh"
seed=${KILL_SEED:-$((RANDOM + 1))}
RANDOM=$seed

# A boot that falls into one of twenty outages costs an attempt, which is what attempts are for.
prepare() { sed -i 's/^attempts = .*/attempts = 8/; s/^discover-seconds = .*/discover-seconds = 180/' "$1/site/files/firmware-profiles/models/qemu-q35.toml"; }

# draw MILLISECONDS MILLISECONDS: a random while, in seconds, into `drawn`. A subshell would draw the same again.
draw() {
    local ms=$(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1)))
    drawn=$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
}

# What a reader of the event stream is told while this daemon lives; each row is told once.
life=0
follow() {
    local last
    last=$(sed -sn 's/^id: //p' "$bed"/told/* | sort -n | tail -n 1)
    life=$((life + 1))
    curl -sN --cacert "$MUSTER_CA" -H "Authorization: Bearer $(cat "$MUSTER_TOKEN_FILE")" \
        "$MUSTER_SERVER/api/v1/events?after=${last:-0}" >"$bed/told/$life" 2>/dev/null &
    remember "$bed/pids/follower.pid" $!
    disown
}
told() { grep -qE "^data: .*$1" "$bed/told/$life"; }
# entered STATE: whether the machine ever was in it.
entered() { grep -qshE "^data: .*\"kind\":\"entered\".*\"state\":\"$1\"" "$bed"/told/*; }
# now_at: state, and the newest act with its phase, by all that was told.
now_at() {
    for n in $(seq "$life"); do cat "$bed/told/$n"; done | sed -n 's/^data: //p' | jq -Rrs '[split("\n")[] | fromjson?] |
        ([.[] | select(.kind == "entered") | .body.to.at.state] | last // "expected") + ", " +
        ([.[] | select(.kind | startswith("act-")) | "\(.kind) \(.body.detail.slot // .body.detail.act.type) \(.body.detail.phase // "")"] | last // "no act yet")'
}

# Three strangers that ask for addresses all the while, now and then as somebody new, and note what they are given.
strangers() {
    cat >"$bed/given.sh" <<'S'
#!/bin/sh
[ "$1" != bound ] || echo "$(date +%s.%3N) $(cat "/sys/class/net/$interface/address") $ip $lease" >>"${0%/*}/got"
S
    chmod +x "$bed/given.sh"
    local n
    for n in 1 2 3; do
        ip -n "$NS" link add "ask$n" type veth peer name "to-ask$n"
        ip -n "$NS" link set "to-ask$n" master "$BRIDGE" up
        ip -n "$NS" link set "ask$n" up
        # shellcheck disable=SC2016 # that shell's own variables
        launch "$bed/pids/ask$n.pid" "$bed/ask.log" ip netns exec "$NS" bash -c '
            trap "kill \$child 2>/dev/null; exit" TERM
            RANDOM=$2
            for round in $(seq 100000); do
                [ $((round % 12)) != 1 ] || ip link set dev "$0" address "$(printf "52:54:00:a5:0$3:%02x" $((round / 12)))"
                busybox udhcpc -i "$0" -f -q -n -t 3 -T 1 -A 1 -s "$1/given.sh" & child=$!
                wait $child
                sleep $((1 + RANDOM % 6)) & child=$!
                wait $child
            done' "ask$n" "$bed" $((seed + n)) "$n"
    done
}

# packets dhcp|http: how many the machine's port has seen; of HTTP, each file asked for.
packets() {
    local word=BOOTP
    [ "$1" = dhcp ] || word=8080
    grep -cF "$word" "$bed/packets.log" || true
}

# moment WORDS: waits until it comes; 1 when the machine has left the stage before that.
moment() {
    local until packets
    until=$(($(date +%s) + 900 * patience))
    packets=$(($(packets "$1") + 1 + RANDOM % 3))
    while [ "$(date +%s)" -lt "$until" ]; do
        case $1 in
            now) if ! entered "$end"; then return 0; fi ;;
            dhcp | http) if [ "$(packets "$1")" -ge "$packets" ]; then return 0; fi ;;
            *) if told "$1"; then return 0; fi ;;
        esac
        if entered held; then fail "node1 is held: $(tickets | jq -c .)"; fi
        if entered "$end"; then return 1; fi
        sleep 0.02
    done
    fail "for 900 s there was no $1: $(now_at)"
}

kills=0
killed() {
    local words=$1 pid drawn=0
    read -r pid _ <"$bed/pids/muster.pid"
    kill -9 "$pid"
    date +%s.%3N >>"$bed/kills"
    while alive "$bed/pids/muster.pid"; do sleep 0.01; done
    kills=$((kills + 1))
    if [ $((RANDOM % 2)) = 1 ]; then draw 500 5000; fi
    note "kill $kills, $words: $(now_at); started again after $drawn s"
    sleep "$drawn"
    serve "$bed"
    follow
}

# stage END MOMENT...: a kill at each moment, at once or up to so many milliseconds after it (`MOMENT~MS`).
stage() {
    end=$1
    shift
    local which after drawn
    for which in "$@"; do
        after=${which##*~} which=${which%~*}
        draw 0 "$after"
        if moment "$which"; then
            sleep "$drawn"
            killed "$drawn s after $which"
        else
            killed "too late for $which"
        fi
    done
}

site
mkdir "$bed/told"
: >"$bed/told/0"
: >"$bed/kills" >"$bed/got"
machine "$bed" node1 firmware=bios
note "seed $seed"
strangers
launch "$bed/pids/tcpdump.pid" "$bed/packets.log" ip netns exec "$NS" tcpdump -l -n -i swp1 \
    'ether host 52:54:00:77:01:01 and (udp port 67 or (tcp dst port 8080 and tcp[tcpflags] & tcp-syn != 0))'
follow
muster machine discover node1 --yes >/dev/null
stage ready '"kind":"act-claimed"~0' '"phase":"set-boot"~400' '"phase":"on"~0' dhcp~300 http~0 http~2000 \
    '"kind":"(identified|commissioned)"~3000'
becomes node1 ready 900
ordered node1
stage checking '"kind":"act-claimed"~0' '"phase":"off"~0' '"phase":"on"~1500' dhcp~0 http~1000 \
    '"kind":"(write-permitted|install-reported)"~0' now~15000 now~25000
stage in-service '"kind":"act-~300' '"kind":"act-~2500' '"kind":"act-(phase|done)"~0' dhcp~2000 '"kind":"agent-started"~1500'
served node1 900

[ "$kills" = 20 ] || fail "there were $kills kills"
tickets | holds "nobody has to do anything" '.[0] == []'
whole
after=0
while :; do
    page=$(curl -sf --cacert "$MUSTER_CA" -H "Authorization: Bearer $(cat "$MUSTER_TOKEN_FILE")" "$MUSTER_SERVER/api/v1/log?after=$after&limit=1000")
    [ "$(jq length <<<"$page")" -gt 0 ] || break
    jq -c '.[]' <<<"$page" >>"$bed/log.jsonl"
    after=$(jq '.[-1].seq' <<<"$page")
done
for name in follower ask1 ask2 ask3 tcpdump muster; do end "$bed/pids/$name.pid"; done
tests/prove/lib/killed.py "$bed" || fail "the records contradict one another"
note "killed 20 times, and nobody but the log of kills knows"
