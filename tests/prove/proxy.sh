#!/usr/bin/env bash
# Beside another DHCP server: dnsmasq gives the addresses, we the boot files (proxyDHCP on 67 and 4011). A machine under
# BIOS goes that way from dark to ready, one under UEFI to the agent's script; no lease of ours is given; dnsmasq is named
# and no alarm, a second server is one.
. "$(dirname "$0")/lib/scenario.sh"

other=10.77.0.2
prepare() {
    sed -i "s/^range .*/dhcp.mode = \"proxy\"\ndhcp.other-servers = [\"$other\"]/" "$1/site/muster.toml"
}
leave() {
    local name
    for name in dnsmasq rogue capture; do [ ! -f "$bed/pids/$name.pid" ] || end "$bed/pids/$name.pid"; done
    [ -z "${D:-}" ] || ip netns del "$D" 2>/dev/null || true
    [ -z "${E:-}" ] || ip netns del "$E" 2>/dev/null || true
}
# server NAMESPACE NUMBER NAME FIRST: a DHCP server of its own at 10.77.0.NUMBER.
server() {
    ip netns add "$1"
    ip -n "$NS" link add "swp7$2" type veth peer name eth0 netns "$1" address "52:54:00:77:98:0$2"
    ip -n "$NS" link set "swp7$2" master br0 up
    ip -n "$1" link set lo up
    ip -n "$1" addr add "10.77.0.$2/24" dev eth0
    ip -n "$1" link set eth0 up
    launch "$bed/pids/$3.pid" "$bed/$3.log" ip netns exec "$1" dnsmasq --no-daemon --conf-file=/dev/null --port=0 \
        --interface=eth0 --bind-interfaces --dhcp-authoritative --log-dhcp --dhcp-leasefile="$bed/$3.leases" \
        --dhcp-range="10.77.0.$4,10.77.0.$(($4 + 49)),255.255.255.0,10m" --dhcp-option=6,10.77.0.1
}
conflicts() { muster --output json boot conflicts; }
# until SECONDS WORDS COMMAND...: waits until the command says yes.
until_so() {
    local seconds=$1 words=$2 i
    shift 2
    for i in $(seq "$seconds"); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 1; done
    fail "$words"
}

site
D=$NS-d
server "$D" 2 dnsmasq 100
launch "$bed/pids/capture.pid" "$bed/capture.log" ip netns exec "$NS" tcpdump -i br0 -U -n -w "$bed/capture.pcap" \
    'udp and (port 67 or port 68 or port 69 or port 4011)'

machine "$bed" node1 firmware=bios
mac=$(. "$bed/machines/node1/machine.env" && echo "$MAC")
discovered node1 900
heard_of "$mac" | holds "its boot was offered beside the other server's address" \
    '.[0] | any(.[]; .answer | startswith("OFFER without a lease; boot http://10.77.0.1:8080/b/"))
     and all(.[]; (.answer | startswith("ACK 10.")) | not)'
grep -q "DHCPACK(eth0) 10.77.0.1[0-4][0-9] $mac" "$bed/dnsmasq.log" || fail "dnsmasq did not give it an address"
conflicts | holds "the server that was named is no alarm" '.[0] == []'
note "dnsmasq gave the address, we the boot"

# Firmware under UEFI takes the loader's name from the offer without a lease: it has nothing to ask port 4011 for.
machine "$bed" stranger firmware=uefi serial=NOBODYS manufacturer=Unheard product=Of
theirs=$(. "$bed/machines/stranger/machine.env" && echo "$MAC")
bmc stranger chassis bootdev pxe
bmc stranger chassis power on
given() { heard_of "$theirs" | jq -e 'any(.[]; .kind == "script" and .asked == "agent")'; }
until_so $((240 * patience)) "UEFI firmware was not brought to our script" given
heard_of "$theirs" | holds "it was told its loader beside the other server's address" \
    '.[0] | any(.[]; .asked == "firmware, PXE" and .answer == "OFFER without a lease; boot ipxe.efi by TFTP")
     and all(.[]; (.answer | startswith("ACK 10.")) | not)'
grep -q 'via=Tftp peer=10.77.0.1[0-4][0-9]:.*path="ipxe.efi" how="whole"' "$bed/muster.log" || fail "the loader was not taken by TFTP"
grep -q "DHCPACK(eth0) 10.77.0.1[0-4][0-9] $theirs" "$bed/dnsmasq.log" || fail "dnsmasq did not give it an address"
bmc stranger chassis power off
note "UEFI firmware the same"

E=$NS-e
server "$E" 3 rogue 150
ip netns add "$NS-c"
ip -n "$NS" link add swp90 type veth peer name eth0 netns "$NS-c" address 52:54:00:77:99:01
ip -n "$NS" link set swp90 master br0 up
ip -n "$NS-c" link set eth0 up
heard() { ip netns exec "$NS-c" timeout 20 busybox udhcpc -f -n -q -i eth0 -s /bin/true -t 4 || true; conflicts | jq -e 'any(.[]; .address == "10.77.0.3")'; }
until_so 20 "the second server was not seen" heard
ip netns del "$NS-c"
conflicts | holds "the second server is reported with its MAC" \
    '.[0] | length == 1 and .[0].kind == "dhcp-server" and .[0].mac == "52:54:00:77:98:03" and .[0].network == "provisioning"'
tickets | holds "a person is told" '.[0] | any(.[]; .subject == "site" and .cause == "conflict/dhcp-server/provisioning/10.77.0.3")'
curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics" | grep -q '^muster_conflicts{kind="dhcp-server"} 1$' || fail "the metrics do not count it"
whole
note "the server that nobody named is a ticket"
