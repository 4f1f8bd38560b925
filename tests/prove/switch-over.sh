#!/usr/bin/env bash
# A site switches over from another DHCP server without a reboot. ISC dhcpd serves real clients; its files are imported,
# and a shadow beside it hears no difference, then the one that is planted. ISC is stopped and Muster answers: each client
# keeps its address, the machines are in service, and no BMC was asked for anything. Before that, files that Kea and dnsmasq
# wrote while they served a client are read.
. "$(dirname "$0")/lib/scenario.sh"

# The network is known and not answered yet.
prepare() {
    sed -i 's/^dedicated = true/authoritative = true\ndhcp.mode = "quiet"/' "$1/site/muster.toml"
}

clients=()
ended() {
    local status=$? name
    set +e
    for name in "${clients[@]}"; do
        end "$bed/pids/$name.pid"
        ip netns del "$NS-$name" 2>/dev/null
    done
    # What `finish` asks for first.
    (exit "$status")
    finish
}

# client NAME LAST: a namespace with one network card on the bed's bridge, MAC 52:54:00:aa:00:LAST.
client() {
    local name=$1 dir=$bed/clients/$1
    clients+=("$name")
    mkdir -p "$dir"
    ip netns add "$NS-$name"
    ip -n "$NS" link add "$name" type veth peer name eth0 address "52:54:00:aa:00:$2" netns "$NS-$name"
    ip -n "$NS" link set "$name" master br0 up
    ip -n "$NS-$name" link set eth0 up
    cat >"$dir/script" <<SCRIPT
#!/bin/sh
# What dhclient and udhcpc call with their news: it sets the address and notes it.
address=\${new_ip_address:-\$ip}
case \${reason:-\$1} in
    BOUND | RENEW | REBIND | REBOOT | bound | renew)
        ip address replace "\$address/24" dev eth0
        echo "\${reason:-\$1} \$address" >>"$dir/got"
        ;;
esac
SCRIPT
    chmod 755 "$dir/script"
    printf 'request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, host-name, interface-mtu;\n' >"$dir/conf"
}

# asks NAME: starts the client's program, or starts it anew; what it got before it still knows, where it keeps that.
asks() {
    local dir=$bed/clients/$1
    end "$bed/pids/$1.pid"
    touch "$dir/leases"
    if [ "$1" = node1 ]; then
        launch "$bed/pids/$1.pid" "$dir/log" ip netns exec "$NS-$1" dhclient -4 -d -cf "$dir/conf" -lf "$dir/leases" -pf "$dir/pid" \
            -sf "$dir/script" eth0
    else
        launch "$bed/pids/$1.pid" "$dir/log" ip netns exec "$NS-$1" busybox udhcpc -f -i eth0 -s "$dir/script" -t 20 -T 2 -A 2
    fi
}

# renews NAME: udhcpc asks the server of its lease, by unicast.
renews() {
    local pid
    read -r pid _ <"$bed/pids/$1.pid"
    kill -USR1 "$pid"
}

times() { if [ -f "$bed/clients/$1/got" ]; then wc -l <"$bed/clients/$1/got"; else echo 0; fi; }
address() { tail -n 1 "$bed/clients/$1/got" | cut -d' ' -f2; }

# gets NAME COUNT: waits until the client was given an address for the COUNTth time.
gets() {
    local i
    for i in $(seq 300); do
        [ "$(times "$1")" -lt "$2" ] || return 0
        sleep 0.2
    done
    fail "$1 got no address; its program says: $(tail -n 5 "$bed/clients/$1/log")"
}

# keeps NAME ADDRESS: it has the address on its card, and no other.
keeps() {
    local found
    [ "$(address "$1")" = "$2" ] || fail "$1 was given $(address "$1"), not $2"
    found=$(ip -n "$NS-$1" -o -4 address show dev eth0 | awk '{print $4}')
    [ "$found" = "$2/24" ] || fail "$1 has $found on its card, not $2/24"
}

import() { muster import "$@" --output json; }
sums() { jq '{new: [.plans[].new] | add, change: [.plans[].change] | add, same: [.plans[].same] | add, conflict: [.plans[].conflict] | add}'; }
newest() { curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics" | awk '$1 == "muster_events_total" {print $2}'; }

# hears SECONDS FILE: a shadow in the background, deaf to nothing on the bridge; FILE gets what it says.
hears() {
    launch "$bed/pids/shadow.pid" "$2" ip netns exec "$NS" "$MUSTER" dhcp shadow --config "$bed/site/muster.toml" --for "$1" --output json
    for i in $(seq 100); do
        grep -q '^Seccomp:[[:space:]]*2' "/proc/$(cut -d' ' -f1 "$bed/pids/shadow.pid")/status" 2>/dev/null && return 0
        sleep 0.1
    done
    fail "the shadow is not sealed against sending: $(cat "$2")"
}

# heard FILE: the shadow's last word.
heard() {
    local i
    for i in $(seq 600); do
        if ! alive "$bed/pids/shadow.pid"; then break; fi
        sleep 0.2
    done
    grep -h '"summary"' "$1" || fail "the shadow ended without a summary: $(cat "$1")"
}

site
trap ended EXIT
client node1 01
client node2 02
client guest 03

# Files that Kea and dnsmasq write while they serve a client.
kea=$bed/kea
mkdir -p "$kea"
cat >"$kea/conf" <<CONF
{ "Dhcp4": {
    // its own files, and one network
    "interfaces-config": { "interfaces": [ "br0" ] },
    "lease-database": { "type": "memfile", "persist": true, "name": "$kea/leases.csv", "lfc-interval": 0 },
    "valid-lifetime": 3600,
    "subnet4": [ { "id": 1, "subnet": "10.77.0.0/24", "pools": [ { "pool": "10.77.0.100 - 10.77.0.110" } ],
        "reservations": [ { "hw-address": "52:54:00:aa:00:02", "ip-address": "10.77.0.22", "hostname": "node2" } ] } ]
} }
CONF
launch "$bed/pids/kea.pid" "$kea/log" ip netns exec "$NS" env KEA_PIDFILE_DIR="$kea" KEA_LOCKFILE_DIR="$kea" kea-dhcp4 -c "$kea/conf"
asks node2 && asks guest
gets node2 1 && gets guest 1
import kea "$kea/conf" "$kea/leases.csv" --dry-run |
    holds "Kea's reservation and both of its leases are read" \
        '.[0].plans | length == 1 and (.[0].rows | map([.mac, .address, .verdict]) | sort) ==
        ([["52:54:00:aa:00:02", "10.77.0.22", "new"], ["52:54:00:aa:00:03", $guest, "change"]] | sort)' --arg guest "$(address guest)"
end "$bed/pids/kea.pid"
for name in node2 guest; do
    end "$bed/pids/$name.pid"
    ip -n "$NS-$name" address flush dev eth0
done
mkdir -p "$bed/dnsmasq"
cat >"$bed/dnsmasq/conf" <<CONF
port=0
interface=br0
bind-interfaces
dhcp-authoritative
dhcp-range=10.77.0.100,10.77.0.110,1h   # the pool
dhcp-host=52:54:00:aa:00:02,10.77.0.32,node2
dhcp-leasefile=$bed/dnsmasq/leases
CONF
launch "$bed/pids/dnsmasq.pid" "$bed/dnsmasq/log" ip netns exec "$NS" dnsmasq -k --user=root -C "$bed/dnsmasq/conf" -x "$bed/dnsmasq/pid"
asks node2 && asks guest
gets node2 2 && gets guest 2
import dnsmasq "$bed/dnsmasq/conf" "$bed/dnsmasq/leases" --dry-run |
    holds "the reservation and both leases of dnsmasq are read" \
        '.[0].plans[0].rows | map([.mac, .address, .verdict]) | sort == ([["52:54:00:aa:00:02", "10.77.0.32", "new"],
        ["52:54:00:aa:00:03", $guest, "change"]] | sort)' --arg guest "$(address guest)"
end "$bed/pids/dnsmasq.pid"
for name in node2 guest; do
    end "$bed/pids/$name.pid"
    ip -n "$NS-$name" address flush dev eth0
    rm "$bed/clients/$name/got"
done
note "files that Kea and dnsmasq wrote are read whole"

# The live server.
isc=$bed/isc
mkdir -p "$isc"
touch "$isc/leases"
cat >"$isc/conf" <<CONF
authoritative;
default-lease-time 3600;
max-lease-time 3600;
use-host-decl-names on;
subnet 10.77.0.0 netmask 255.255.255.0 {
    range 10.77.0.100 10.77.0.110;
    option domain-name-servers 10.77.0.1;
    group {
        host node1 { hardware ethernet 52:54:0:aa:0:1; fixed-address 10.77.0.11; }
        host node2 { hardware ethernet 52:54:00:aa:00:02; fixed-address 10.77.0.12; }
    }
}
CONF
live() { launch "$bed/pids/isc.pid" "$isc/log" ip netns exec "$NS" dhcpd -4 -f -d -cf "$isc/conf" -lf "$isc/leases" -pf "$isc/pid" br0; }
live
for name in node1 node2 guest; do asks $name; done
for name in node1 node2 guest; do gets $name 1; done
guest=$(address guest)
keeps node1 10.77.0.11
keeps node2 10.77.0.12
note "ISC dhcpd serves: node1 and node2 by reservation, a guest on $guest from its pool"

# Looking changes nothing, and what is wrong is told before anything is done.
before=$(newest)
import isc "$isc/conf" "$isc/leases" --running --dry-run | sums | holds "node2 is new, node1 of the layout changes, the guest's lease is kept" \
    '.[0] == {new: 1, change: 2, same: 0, conflict: 0}'
[ "$(newest)" = "$before" ] || fail "a dry run wrote into the log"
# node1 stands in the demo's rack layout, with a BMC that must not hear of any of this.
printf 'mac,address,name\n52:54:00:aa:00:09,10.99.0.9,far\n52:54:00:aa:00:08,10.77.0.1,us\n52:54:00:aa:00:07,%s,thief\n' "$guest" >"$bed/wrong.csv"
muster import isc "$isc/conf" "$isc/leases" --running --yes >"$bed/imported" || fail "the import was refused"
if import csv "$bed/wrong.csv" --yes >"$bed/wrong" 2>/dev/null; then fail "rows that conflict were imported"; fi
jq '[.plans[].rows[].words]' "$bed/wrong" | holds "each wrong row is told by its reason" \
    '.[0] | (.[0] | test("none of the networks")) and (.[1] | test("server")) and (.[2] | test("leased to 52:54:00:aa:00:03"))'
muster machine list --output json | holds "both machines are in service, and nobody else was made" \
    '.[0] | map([.name, .state]) | map(select(.[0] | test("node[12]$|far|us|thief"))) | sort == [["node1", "in-service"], ["node2", "in-service"]]'
before=$(newest)
import isc "$isc/conf" "$isc/leases" --running --yes | sums |
    holds "the same files a second time change nothing" '.[0] == {new: 0, change: 0, same: 3, conflict: 0}'
[ "$(newest)" = "$before" ] || fail "a second import of the same files wrote into the log"
note "imported: node1 and node2 are in service; the same files again changed nothing; wrong rows are told and refused"

# The shadow hears no difference.
hears 25 "$bed/shadow-same"
rm -f "$bed/clients/node1/leases"
asks node1
renews node2
renews guest
gets node1 2 && gets node2 2 && gets guest 2
asks node1
asks node2
gets node1 3 && gets node2 3
heard "$bed/shadow-same" | holds "six exchanges or more were heard, and none differs" \
    '.[0].summary | .exchanges >= 6 and .differing == 0 and .lost == 0'
note "the shadow heard $(grep -c '"asked"' "$bed/shadow-same") exchanges and no difference; the kernel kept it from sending"

# It hears the one that is planted.
end "$bed/pids/isc.pid"
cp "$isc/conf" "$isc/right"
sed -i 's/10\.77\.0\.12;/10.77.0.13; option routers 10.77.0.254;/' "$isc/conf"
live
hears 15 "$bed/shadow-other"
end "$bed/pids/node2.pid"
asks node2
asks node1
gets node2 4 && gets node1 4
[ "$(address node2)" = 10.77.0.13 ] || fail "the planted address was not given"
heard "$bed/shadow-other" | holds "the planted difference is heard at its machine alone" \
    '.[0].summary | .differing >= 2 and .machines == ["52:54:00:aa:00:02"] and .by.address >= 1 and .by.router >= 1'
grep -h '"asked"' "$bed/shadow-other" | holds "both sides of it are told" \
    'any(.[]; .differences | any(.what == "address" and .ours == "10.77.0.12" and .theirs == "10.77.0.13"))'
if "$MUSTER" dhcp shadow --config "$bed/nowhere" --for 1 2>/dev/null; then fail "a shadow without a configuration is content"; fi
note "a planted address and router are heard, at the one machine"

# Back to the right configuration, and over.
end "$bed/pids/isc.pid"
cp "$isc/right" "$isc/conf"
live
end "$bed/pids/node2.pid"
ip -n "$NS-node2" address flush dev eth0
asks node2
gets node2 5
keeps node2 10.77.0.12
end "$bed/pids/isc.pid"
end "$bed/pids/muster.pid"
sed -i '/^dhcp.mode = "quiet"/d' "$bed/site/muster.toml"
serve "$bed"
count1=$(times node1) count2=$(times node2) count3=$(times guest)
renews node2
renews guest
asks node1
gets node1 $((count1 + 1)) && gets node2 $((count2 + 1)) && gets guest $((count3 + 1))
keeps node1 10.77.0.11
keeps node2 10.77.0.12
keeps guest "$guest"
for last in 01 02 03; do
    heard_of "52:54:00:aa:00:$last" |
        holds "Muster itself acknowledged 52:54:00:aa:00:$last" 'any(.[0][]; .answer | startswith("ACK 10.77.0."))'
done
note "Muster answers: node1, node2 and the guest keep their addresses"

for name in node1 node2; do
    [ "$(state $name)" = in-service ] || fail "$name is $(state $name)"
    show $name | holds "nothing was ever done to $name" '.[0].acts == []'
    events $name | holds "no act stands in the log of $name" 'all(.[]; .kind | startswith("act-") | not)'
done
whole
