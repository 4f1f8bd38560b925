#!/usr/bin/env bash
# A machine whose PXE is off in its firmware comes in by UEFI HTTP boot, which its BMC orders: the firmware fetches our loader
# from the address that the daemon sent to the BMC, and from nowhere else it could have it. Its boot order holds its disk alone.
. "$(dirname "$0")/lib/scenario.sh"
. "$(dirname "$0")/lib/redfish.sh"
vars=$(tests/bed/virt-fw-vars.sh)
loader=http://10.77.0.1:8080/boot/ipxe.efi

prepare() { ways_in "$1" '["pxe", "http"]'; }

site
machine "$bed" node1 firmware=uefi pxe=no
redfish_bmc node1 http-boot=yes

muster machine discover node1 --yes >/dev/null
goes_by node1 http
show node1 | holds "after PXE the machine boots by HTTP" '.[0] | .way.way == "http" and .medium == null'
muster machine show node1 | sed -n '/boots by/s/^/      /p'
note "PXE was missed; the BMC orders HTTP boot"

becomes node1 ready "$((attempt + 120))"
asked=$(sed -n 's/^[0-9.]* set boot //p' "$bed/machines/node1/power.log")
[ "$asked" = "pxe power 1"$'\n'"$loader power 1" ] || fail "the BMC was not told PXE once and then our address once: $asked"
console=$bed/machines/node1/serial.log
grep -aqF "URI: $loader" "$console" || fail "the firmware does not say that it boots $loader: see $console"
! grep -aq 'Start PXE' "$console" || fail "the firmware has PXE: see $console"
! "$vars" -i "$bed/machines/node1/vars.fd" --print 2>/dev/null | grep -q BootNext || fail "the firmware would do it again"
heard_of node1 | tee "$bed/heard.json" | holds "the change stands in its boot timeline, and nothing else changed" '
    [.[0][] | select(.kind == "event") | .answer | select(startswith("boot by"))]
    | length == 1 and (.[0] | test("^boot by PXE failed \\(not seen for [0-9]+ (s|min)\\), next by HTTP$"))'
holds "the first boot asked for nothing, and the second came to its agent" '
    .[0] as $all | ($all | map(.kind)) as $kinds
    | ([$all[:($kinds | index("discover"))][] | select(.kind == "power" and (.asked | startswith("on")))] | length) == 2
    and ($kinds | contains(["script", "agent"]))' <"$bed/heard.json"
holds "the loader went out whole by HTTP, and nothing by TFTP" '
    [.[0][].body | select(.type == "fetch")]
    | all(.[]; .via == "http") and ([.[] | select(.file == "loader" and .how == "whole") | .path] == ["/boot/ipxe.efi"])' <"$bed/heard.json"
events node1 | jq -s . | holds "and in its log" '
    [.[0][] | select(.kind == "way-changed")] | length == 1 and (.[0] | tostring | contains("\"from\":\"pxe\"") and contains("\"to\":\"http\""))'
show node1 | holds "what worked is remembered" '.[0] | .way.way == "http" and .way.came == "arrived" and .medium == null'
jq -r '.[] | select(.kind == "event" or .kind == "power" or .body.type == "fetch") | .answer' "$bed/heard.json" | sed 's/^/        /'
note "it came in by HTTP boot from the address that its BMC was sent"
whole
