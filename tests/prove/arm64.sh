#!/usr/bin/env bash
# QEMU's board "virt" with AAVMF: an arm64 machine from dark to ready by shim, GRUB and kernel as Debian signs them, looked at
# by an agent built for arm64. It is not ordered an image for x86-64, and without a boot image for arm64 it boots its disk.
. "$(dirname "$0")/lib/scenario.sh"
. tests/run/arm64.sh

prepare() {
    printf '%s\n' "boot-image-arm64 = \"$BOOT_IMAGE_ARM64\"" "$(cat "$1/site/muster.toml")" >"$1/site/muster.toml.new"
    mv "$1/site/muster.toml.new" "$1/site/muster.toml"
    sed -i 's/^model = "qemu-q35"/model = "qemu-virt-arm64"/' "$1/site/files/rack-layouts/demo/r1.toml"
}

site
machine "$bed" node1 firmware=aavmf 'product=Virtual Machine virt'
discovered node1 1200
show node1 | holds "the agent ran on arm64, by UEFI, and saw the whole machine" \
    '.[0].inventory | .architecture == "arm64" and ."firmware-mode" == "uefi" and .system.serial == "MUSTER0001" and
     (.cpus | length == 1 and .[0].threads == 2 and .[0].model != "") and (.dimms | length) >= 1 and
     (.disks | any(.serial == "DISK00001")) and (.nics | any(.link and .neighbor.port == "swp1"))'
show node1 | holds "its model is that of the board" '.[0].summary | .model == "qemu-virt-arm64" and .state == "ready"'
note "discovered"
if said=$(muster install debian-12 node1 --yes 2>&1); then fail "an image for x86-64 was ordered on an arm64 machine"; fi
grep -q 'is for x86-64, and this machine is arm64' <<<"$said" || fail "the order was refused with other words: $said"

end "$bed/pids/muster.pid"
sed -i '/^boot-image-arm64/d' "$bed/site/muster.toml"
serve "$bed"
mac=$(. "$bed/machines/node1/machine.env" && echo "$MAC")
# A machine that is switched off has no agent in RAM that could look again without a boot.
muster machine hold node1 --why "its boot image is gone" --yes >/dev/null
bmc node1 chassis power off
sleep 3
muster machine resume node1 --to discover --yes >/dev/null
for _ in $(seq 240); do
    if muster --output json boot explain "$mac" | grep -q 'no loader for its architecture'; then break; fi
    sleep 1
done
muster --output json boot explain "$mac" | holds "it is sent to its disk, with the reason" '[.. | strings | select(test("no loader for its architecture"))] != []'
whole
