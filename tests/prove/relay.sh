#!/usr/bin/env bash
# A machine on a network that only a relay reaches: ISC's dhcrelay adds option 82, the machine boots through it, and is
# found at its place by it alone: LLDP is off, and the layout knows the relay's port.
. "$(dirname "$0")/lib/scenario.sh"

# The relay tells no remote id, so it is known by its own address.
far=10.78.0.1
prepare() {
    cat >>"$1/site/muster.toml" <<CONF

[[network]]
name      = "far"
subnet    = "10.78.0.0/24"
range     = ["10.78.0.50", "10.78.0.99"]
gateway   = "10.78.0.1"
dedicated = true
CONF
    sed -i "s/switch = \"bed-switch\", port = \"swp1\"/switch = \"$far\", port = \"far0\"/" "$1/site/files/rack-layouts/demo/r1.toml"
}
leave() {
    [ ! -f "$bed/pids/dhcrelay.pid" ] || end "$bed/pids/dhcrelay.pid"
    [ -z "${R:-}" ] || ip netns del "$R" 2>/dev/null || true
}

site
R=$NS-r
end "$bed/pids/lldpd.pid"
ip netns add "$R"
ip -n "$NS" link add br1 type bridge forward_delay 0 stp_state 0
ip -n "$NS" link set br1 up
ip -n "$NS" link add swp80 type veth peer name near0 netns "$R"
ip -n "$NS" link set swp80 master br0 up
ip -n "$NS" link add swp81 type veth peer name far0 netns "$R"
ip -n "$NS" link set swp81 master br1 up
ip -n "$R" link set lo up
ip -n "$R" addr add 10.77.0.254/24 dev near0
ip -n "$R" link set near0 up
ip -n "$R" addr add $far/24 dev far0
ip -n "$R" link set far0 up
ip netns exec "$R" sysctl -qw net.ipv4.ip_forward=1
ip -n "$NS" route add 10.78.0.0/24 via 10.77.0.254
launch "$bed/pids/dhcrelay.pid" "$bed/dhcrelay.log" ip netns exec "$R" dhcrelay -4 -d -a -m append -iu near0 -id far0 10.77.0.1

machine "$bed" node1 firmware=bios
ip -n "$NS" link set swp1 master br1
mac=$(. "$bed/machines/node1/machine.env" && echo "$MAC")
discovered node1 600
heard_of "$mac" | holds "every packet came through the relay, with its option" \
    '.[0] | [.[] | select(.kind == "discover" or .kind == "request")] | length >= 4
     and all(.[]; .body.network == "far" and .body["circuit-id"] == "far0" and .body.giaddr == $far)' --arg far $far
heard_of "$mac" | holds "it has an address of the far network" \
    '.[0] | any(.[]; .answer | startswith("ACK 10.78.0."))'
show node1 | holds "option 82 and the serial number agree on its place" \
    '.[0] | .summary.place.rack == "r1" and .located.verified.witnesses == ["option82", "serial"]'
whole
note "found at its place through a relay"
