#!/usr/bin/env bash
# A machine whose cable loses five frames of a hundred in each direction, doubles two and delivers five late, behind what
# came after them. Real firmware (the card's iPXE under BIOS; lossy-uefi.sh is the same with OVMF over TFTP) goes over it
# from dark to in service; so do two hundred exchanges of udhcpc. LLDP passes the same cable.
#
# No kernel needs netem for it: the cable is tests/src/bin/hop. LINK_SEED=N draws another cable.
firmware=${firmware:-bios}
. "$(dirname "$0")/lib/scenario.sh"
seed=${LINK_SEED:-1}
cargo build --quiet --locked -p muster-tests --bin hop
hop=${CARGO_TARGET_DIR:-$repo/target}/debug/hop

leave() {
    [ ! -f "$bed/pids/hop.pid" ] || end "$bed/pids/hop.pid"
    [ -z "${C:-}" ] || ip netns del "$C" 2>/dev/null || true
}

# cable MACHINE: its card is plugged into a bridge of its own (`br1`), which the hop joins with its port of the bed's
# bridge. A bridge keeps LLDP to itself unless it is told otherwise.
cable() {
    local port mine=$bed/machines/$1/machine.env
    port=$(. "$mine" && echo "$PORT")
    sed -i 's/^PORT=.*/PORT=card/' "$mine"
    ip -n "$NS" link add br1 type bridge forward_delay 0 stp_state 0 mcast_snooping 0 group_fwd_mask 0x4000
    # The server's address is one of this namespace: without this the bridge would speak for it itself, on this side of
    # the cable.
    ip netns exec "$NS" sysctl -qw net.ipv4.conf.br1.arp_ignore=8 net.ipv6.conf.br1.disable_ipv6=1
    ip -n "$NS" link set br1 addrgenmode none up
    for tap in card far; do
        ip -n "$NS" tuntap add dev "$tap" mode tap
        ip -n "$NS" link set "$tap" addrgenmode none master br1 up
    done
    launch "$bed/pids/hop.pid" "$bed/hop.log" ip netns exec "$NS" "$hop" "left=$port" right=far "seed=$seed" lost=5 doubled=2 held=5
    for _ in $(seq 50); do if grep -q joined "$bed/hop.log"; then return 0; fi; sleep 0.1; done
    fail "the hop does not join them: $(cat "$bed/hop.log")"
}

# Forty clients, one after another, each five times, over the same cable; what each was given lies in `given`.
strangers() {
    C=$NS-c
    ip netns add "$C"
    ip -n "$NS" link add seat type veth peer name eth0 netns "$C"
    ip -n "$NS" link set seat addrgenmode none master br1 up
    ip -n "$C" link set eth0 up
    # shellcheck disable=SC2016 # that shell's own variables
    printf '%s\n' '#!/bin/sh' '[ "$1" != bound ] || echo "$(cat /sys/class/net/eth0/address) $ip" >>"${0%/*}/given"' >"$bed/hook.sh"
    chmod +x "$bed/hook.sh"
    local round n
    for round in 1 2 3 4 5; do
        for n in $(seq 40); do
            ip -n "$C" link set dev eth0 address "$(printf '52:54:00:a5:00:%02x' "$n")"
            ip netns exec "$C" timeout 60 busybox udhcpc -i eth0 -f -q -t 12 -T 1 -A 1 -s "$bed/hook.sh" >>"$bed/udhcpc.log" 2>&1 ||
                fail "client $n has no lease in round $round: $(tail -n 5 "$bed/udhcpc.log")"
        done
        # Of who belongs to no machine little is kept, so each round is read when it is over.
        for n in $(seq 40); do
            heard_of "$(printf '52:54:00:a5:00:%02x' "$n")" |
                jq -r --arg n "$n" '.[] | select(.kind == "discover" or .kind == "request") | "\($n) \(.at) \(.kind) \(.body.xid)"' >>"$bed/asked"
        done
    done
    ip netns del "$C"
}

# counted WHAT REASON: of the boot path's DHCP, by the metrics.
counted() {
    curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics" |
        sed -n "s/^muster_boot_total{service=\"dhcp\",what=\"$1\",reason=\"$2\"} //p"
}
# leases: address and MAC of every lease, as the daemon keeps them.
leases() {
    python3 - "$bed/site/data/leases.db" <<'P'
import sqlite3, sys
for address, mac in sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("select address, mac from lease"):
    print(".".join(str(address >> s & 255) for s in (24, 16, 8, 0)), ":".join(f"{mac >> s & 255:02x}" for s in range(40, -8, -8)))
P
}
# once WORDS: each MAC on standard input has one address and each address one MAC.
once() {
    local pairs
    pairs=$(sort -u)
    [ "$(cut -d' ' -f1 <<<"$pairs" | sort -u | wc -l)" = "$(wc -l <<<"$pairs")" ] &&
        [ "$(cut -d' ' -f2 <<<"$pairs" | sort -u | wc -l)" = "$(wc -l <<<"$pairs")" ] || fail "$1: $pairs"
}

site
machine "$bed" node1 "firmware=$firmware"
mac=$(. "$bed/machines/node1/machine.env" && echo "$MAC")
cable node1
note "$firmware, seed $seed"

discovered node1 900
for _ in $(seq 60); do
    if show node1 | jq -e '.located.verified.witnesses | index("lldp")' >/dev/null; then break; fi
    sleep 1
done
show node1 | holds "LLDP passed the cable and names the machine's port" \
    '.[0] | .summary.place.rack == "r1" and (.located.verified.witnesses | index("lldp")) != null'
note "LLDP names its port"

strangers
once "clients were given" <"$bed/given"
[ "$(wc -l <"$bed/given")" = 200 ] || fail "200 exchanges ended in $(wc -l <"$bed/given") addresses"
# One number for all packets of an exchange: a question that stands twice was asked again.
repeats=$(sort -u "$bed/asked" | cut -d' ' -f1,3- | sort | uniq -d | wc -l)
[ "$repeats" -ge 1 ] || fail "the boot timeline tells of no client that asked again"
# What was on its way when the last client was done has arrived.
sleep 2
copies=$(counted dropped repeat)
asked=$(($(counted received discover) + $(counted received request)))
answered=$(($(counted sent offer) + $(counted sent ack)))
[ "$asked" = $((answered + copies)) ] || fail "of $asked questions that arrived $answered were answered and $copies were copies"
[ "$copies" -ge 1 ] || fail "of 200 exchanges no doubled packet was counted"
note "200 exchanges of udhcpc: 40 addresses at 40 clients, $repeats questions asked again, $copies copies dropped"

ordered node1
served node1 1500
heard_of "$mac" >"$bed/heard.json"
holds "all that it fetched came whole in the end" '
    [.[0][].body | select(.type == "fetch")] | length >= 4 and all(.[]; .how | IN("whole", "probed", "replaced"))
    and (map(select(.how == "whole").file) | contains(["kernel", "initrd", "token"]))' <"$bed/heard.json"
if [ "$firmware" = uefi ]; then
    holds "TFTP repeated what was lost, and the loader came whole" '
        [.[0][].body | select(.type == "fetch" and .via == "tftp" and .file == "loader")]
        | any(.[]; .how == "whole") and ([.[].repeats] | add) >= 1' <"$bed/heard.json"
    note "TFTP repeated $(jq '[.[].body | select(.type == "fetch" and .via == "tftp").repeats] | add' "$bed/heard.json") packets"
fi
leases >"$bed/leases"
once "leases" <"$bed/leases"
[ "$(grep -c " $mac\$" "$bed/leases")" = 1 ] || fail "$mac has not one address: $(grep "$mac" "$bed/leases")"
jq -r '.[].answer // "" | select(startswith("ACK ")) | split(" ")[1] | rtrimstr(";")' "$bed/heard.json" | sort -u >"$bed/acked"
[ "$(wc -l <"$bed/acked")" = 1 ] || fail "the machine was given several addresses: $(tr '\n' ' ' <"$bed/acked")"
tickets | holds "nobody has to do anything" '.[0] == []'
whole

card=$(ip -n "$NS" -s -j link show card)
end "$bed/pids/hop.pid"
tail -n 1 "$bed/hop.log" | holds "every frame of the machine went over the cable, and none came around it" '
    .[0].from.far.seen * 100 >= $card[0].stats64.rx.packets * 99 and .[0].from.swp1.sent + 2000 >= $card[0].stats64.tx.packets' --argjson card "$card"
tail -n 1 "$bed/hop.log" | holds "the cable was bad in both directions, and nothing but that" '
    .[0].from | length == 2 and all(.[]; .lost * 100 / .seen > 4 and .lost * 100 / .seen < 6
    and .doubled * 100 / .seen > 1 and .held * 100 / .seen > 4 and .overtaken > 0)'
note "the cable: $(tail -n 1 "$bed/hop.log" | jq -c .from)"
note "in service over a cable that loses 5 %, doubles 2 % and reorders 5 % ($firmware)"
