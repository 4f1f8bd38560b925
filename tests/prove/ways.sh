#!/usr/bin/env bash
# A machine whose PXE fails comes in by another way. Its firmware has no driver for its card, so that PXE is never asked for;
# its BMC has no UEFI HTTP boot and says so; and what it shows as virtual media, our boot disc, brings the machine in.
. "$(dirname "$0")/lib/scenario.sh"
. "$(dirname "$0")/lib/redfish.sh"

prepare() { ways_in "$1" '["pxe", "http", "virtual-media"]'; }

site
# iPXE and Linux know this card, the firmware does not: there is no option ROM, and Debian's OVMF has no driver for it.
machine "$bed" node1 firmware=uefi nic=e1000
redfish_bmc node1
disc=http://10.77.0.1:8080/boot/ipxe.iso
(load_bed "$bed" && ip netns exec "$NS" curl -sf -r 32769-32773 "$disc") | grep -q CD001 ||
    fail "the boot disc is not served, or not by ranges"

muster machine discover node1 --yes >/dev/null
goes_by node1 virtual-media
show node1 | tee "$bed/second.json" | holds "after PXE and a refused HTTP boot the machine boots by virtual media" '
    .[0] | .way.way == "virtual-media" and .medium.image == $disc' --arg disc "$disc"
muster machine show node1 | sed -n '/boots by\|boot disc/s/^/      /p'
note "PXE was missed, HTTP refused; the BMC shows the disc"

becomes node1 ready "$((attempt + 120))"
heard_of node1 | tee "$bed/heard.json" | holds "both changes stand in its boot timeline" '
    [.[0][] | select(.kind == "event") | .answer] as $words
    | any($words[]; test("^boot by PXE failed \\(not seen for [0-9]+ (s|min)\\), next by HTTP$"))
    and any($words[]; test("^boot by HTTP failed \\(its BMC refused it: .*UefiHttp.*\\), next by virtual media$"))
    and any($words[]; . == "its BMC shows it the boot disc \($disc)")' --arg disc "$disc"
holds "the first boot asked for nothing, and the second came to its agent" '
    .[0] as $all | ($all | map(.kind)) as $kinds
    | ([$all[:($kinds | index("discover"))][] | select(.kind == "power" and (.asked | startswith("on")))] | length) == 2
    and ($kinds | contains(["script", "agent"]))' <"$bed/heard.json"
events node1 | jq -s . | holds "and in its log" '[.[0][] | select(.kind == "way-changed")] | length == 2'
for _ in $(seq $((30 * patience))); do
    [ -f "$bed/machines/node1/disc.iso" ] || break
    sleep 1
done
[ ! -f "$bed/machines/node1/disc.iso" ] || fail "the disc is still in the BMC's drive"
show node1 | holds "what worked is remembered, and the drive is empty" \
    '.[0] | .way.way == "virtual-media" and .way.came == "arrived" and .medium == null'
jq -r '.[] | select(.kind == "event" or .kind == "power") | .answer' "$bed/heard.json" | sed 's/^/        /'
note "it came in by virtual media, and the disc was ejected"
whole
