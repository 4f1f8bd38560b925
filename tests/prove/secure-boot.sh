#!/usr/bin/env bash
# OVMF with Microsoft's keys enrolled: shim, GRUB and kernel as Debian signs them, from dark to in service, and both the
# agent in RAM and the installed system say that Secure Boot is on. An unsigned loader is refused by the firmware itself.
. "$(dirname "$0")/lib/scenario.sh"

prepare() {
    sed -i 's/^dedicated = true/dedicated = true\nsecure-boot = true/' "$1/site/muster.toml"
    # GRUB asks for every kilobyte by itself, and each answer costs an emulated machine a millisecond.
    sed -i 's/^\(discover\|install\|check\)-seconds.*/\1-seconds = 1200/' "$1/site/files/firmware-profiles/models/qemu-q35.toml"
}

site
machine "$bed" node1 firmware=secure
discovered node1 1200
show node1 | holds "the agent found Secure Boot switched on" '.[0].inventory | ."secure-boot" == true and ."firmware-mode" == "uefi"'
muster machine show node1 | grep -q 'Secure Boot' || fail "machine show does not say it"
for file in boot/shimx64.efi boot/grubx64.efi; do
    grep -q "${file#boot/}.*sent\|sent.*${file#boot/}" "$bed/muster.log" || fail "nobody fetched $file"
done
grep -q 'ipxe' <(grep 'sent' "$bed/muster.log") && fail "an unsigned loader was sent on a network with Secure Boot"
ordered node1
served node1 1500
events node1 | holds "the installed system says that Secure Boot is on" \
    '[.[] | select(.kind == "check-judged") | .body.detail.checked.secure_boot] | last == true'
note "in service under Secure Boot"

# The same firmware on a network that offers iPXE: the loader arrives, and is not started.
end "$bed/pids/muster.pid"
sed -i '/^secure-boot = true/d' "$bed/site/muster.toml"
serve "$bed"
machine "$bed" node2 firmware=secure serial=NOBODYS
bmc node2 chassis bootdev pxe
bmc node2 chassis power on
refusal='Access Denied|Security Violation'
for _ in $(seq 240); do
    if grep -aqE "$refusal" "$bed/machines/node2/serial.log" 2>/dev/null; then break; fi
    sleep 1
done
grep -aqE "$refusal" "$bed/machines/node2/serial.log" || fail "the firmware did not refuse: $(tail -c 600 "$bed/machines/node2/serial.log" | tr -d '\0')"
grep -q 'sent.*ipxe.efi' "$bed/muster.log" || fail "the unsigned loader was not even sent"
mac=$(. "$bed/machines/node2/machine.env" && echo "$MAC")
muster --output json boot explain "$mac" | holds "no script was asked for" '[.. | strings | select(test("agent script"))] == []'
note "refused by the firmware: $(grep -aoE "failed to load.*($refusal)" "$bed/machines/node2/serial.log" | head -n 1)"
whole
