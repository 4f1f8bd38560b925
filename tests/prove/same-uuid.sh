#!/usr/bin/env bash
# Machines that say they are one another. A second machine with the UUID of ours is another machine: observed, never given
# an installer. A third with UUID and serial number of ours stops ours before anything is written, and a person is told;
# once it is gone, ours is installed.
. "$(dirname "$0")/lib/scenario.sh"
uuid=6d757374-6572-4000-8000-00000000c10e

mac_of() { (. "$bed/machines/$1/machine.env" && echo "$MAC"); }
observed() { muster --output json machine list | jq -r --arg mac "$(mac_of "$1")" '[.. | objects | .name? // empty | select(. == "observed-" + ($mac | gsub(":"; "-")))] | first // empty'; }
by_hand() {
    bmc "$1" chassis bootdev pxe
    bmc "$1" chassis power on
}

site
machine "$bed" node1 firmware=bios uuid=$uuid
machine "$bed" twin firmware=bios disk=1G uuid=$uuid serial=TWIN0001
machine "$bed" double firmware=bios disk=1G uuid=$uuid
twin=$(digest "$bed/machines/twin/disk.raw") double=$(digest "$bed/machines/double/disk.raw")
discovered node1

by_hand twin
name=
for _ in $(seq $((120 * patience))); do
    name=$(observed twin)
    [ -z "$name" ] || break
    sleep 1
done
[ -n "$name" ] || fail "the twin was not written down"
sleep 5
show "$name" | holds "the twin is a machine of its own, only watched" '.[0] | .summary.state == "observed" and .summary.ours == false and .uuid == $uuid and .acts == []' --arg uuid $uuid
show node1 | holds "ours keeps its life, and its MAC alone" '.[0] | .summary.state == "ready" and .macs == [$mac]' --arg mac "$(mac_of node1)"
bmc twin chassis power off
note "same UUID: two lives"

by_hand double
switched_by_us=$(asked_of double)
for _ in $(seq $((120 * patience))); do
    [ "$(state node1)" != held ] || break
    sleep 1
done
[ "$(state node1)" = held ] || fail "ours is not held but $(state node1) while another machine claims its serial number"
tickets | holds "a person is told" '.[0] | length == 1 and .[0].cause == "impostor"'
events node1 | holds "the event names the other's MAC" 'any(.[]; .kind == "impostor-seen" and (.body.detail | tostring | ascii_downcase | contains($mac)))' --arg mac "$(mac_of double)"
[ -z "$(observed double)" ] || fail "the double got a record of its own before a person looked"
sleep 10
[ "$(asked_of double)" = "$switched_by_us" ] || fail "somebody switched the double"
bmc double chassis power off
note "same serial number: ours is held, the double got nothing to do"

muster machine resume node1 --to discover --yes >/dev/null
becomes node1 ready 300
ordered node1
served node1
show node1 | holds "ours has its own MAC alone" '.[0].macs == [$mac]' --arg mac "$(mac_of node1)"
events node1 | holds "one write, on its own disk" '[.[] | select(.kind == "write-permitted") | .body.detail.disks[].serial] == ["DISK00001"]'
[ "$(digest "$bed/machines/twin/disk.raw")" = "$twin" ] || fail "the twin's disk has changed"
[ "$(digest "$bed/machines/double/disk.raw")" = "$double" ] || fail "the double's disk has changed"
tickets | holds "the ticket is closed" '.[0] == []'
whole
