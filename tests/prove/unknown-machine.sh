#!/usr/bin/env bash
# A machine that no layout names. On a dedicated network it is looked at from RAM and written down as Observed: never
# switched, never installed, its disk as before. On a network that is not dedicated it boots its own disk.
. "$(dirname "$0")/lib/scenario.sh"

# A boot sector that says so on the serial port: what "its own disk" means here.
speaking_disk() {
    printf '\x31\xc0\x8e\xd8\xbe\x16\x7c\xba\xf8\x03\xfc\xac\x84\xc0\x74\x03\xee\xeb\xf8\xf4\xeb\xfdTHE DISK OF SOMEBODY\r\n' >"$1"
    truncate -s 510 "$1"
    printf '\x55\xaa' >>"$1"
}
said() { grep -aqF "$2" "$bed/machines/$1/serial.log" 2>/dev/null; }
listed() { muster --output json machine list; }

site
speaking_disk "$bed/speaking.raw"
machine "$bed" stranger firmware=bios serial=NOBODYS manufacturer=Unheard product=Of disk_image="$bed/speaking.raw"
before=$(digest "$bed/machines/stranger/disk.raw")
mac=$(. "$bed/machines/stranger/machine.env" && echo "$MAC")
bmc stranger chassis bootdev pxe
bmc stranger chassis power on
switched_by_us=$(asked_of stranger)
found=
for _ in $(seq $((120 * patience))); do
    found=$(listed | jq -r '[.. | objects | select((.name? // "") | startswith("observed-")) | .name] | first // empty')
    [ -z "$found" ] || break
    sleep 1
done
[ -n "$found" ] || fail "nobody wrote the stranger down"
note "it is known as $found"
for _ in $(seq $((30 * patience))); do
    if [ "$(show "$found" | jq '.inventory != null')" = true ]; then break; fi
    sleep 1
done
show "$found" | holds "it is observed, not ours, and inventoried" \
    '.[0] | .summary.state == "observed" and .summary.ours == false and .inventory.system.serial == "NOBODYS" and .acts == []'

refused() { if "$@" --yes >/dev/null 2>&1; then fail "this was allowed: $*"; fi; }
refused muster install debian-12 "$found"
refused muster machine discover "$found"
refused muster machine release "$found"
sleep 20
show "$found" | holds "it stays observed" '.[0] | .summary.state == "observed" and .acts == []'
[ "$(asked_of stranger)" = "$switched_by_us" ] || fail "somebody switched the stranger"
muster --output json orders | holds "there is no order" '.[0] == []'
bmc stranger chassis power off
[ "$(digest "$bed/machines/stranger/disk.raw")" = "$before" ] || fail "the stranger's disk has changed"
if said stranger "THE DISK OF SOMEBODY"; then fail "the disk spoke before it should"; fi
note "observed from RAM, untouched"

end "$bed/pids/muster.pid"
sed -i 's/^dedicated = true/dedicated = false/' "$bed/site/muster.toml"
serve "$bed"
machine "$bed" guest firmware=bios serial=NOBODYS2 manufacturer=Unheard product=Of disk_image="$bed/speaking.raw"
before=$(digest "$bed/machines/guest/disk.raw")
for name in stranger guest; do
    bmc $name chassis bootdev pxe
    bmc $name chassis power on
    for _ in $(seq $((120 * patience))); do
        if said $name "THE DISK OF SOMEBODY"; then break; fi
        sleep 1
    done
    said $name "THE DISK OF SOMEBODY" || fail "$name did not boot its own disk: $(muster boot explain "$mac")"
    bmc $name chassis power off
    note "$name booted its own disk on a network that is not dedicated"
done
[ "$(digest "$bed/machines/guest/disk.raw")" = "$before" ] || fail "the guest's disk has changed"
listed | holds "nobody new was written down" '[.. | objects | select((.name? // "") | startswith("observed-"))] | length == 1'
whole
