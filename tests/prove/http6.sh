#!/usr/bin/env bash
# UEFI over IPv6, as Debian ships it. One machine boots by HTTP from an IPv6 address and goes on to ready; its loader has
# both protocols and takes IPv4. Another one hears no IPv4 before its system runs: PXE firmware, loader, script, kernel
# and boot image come over IPv6 alone. Then the agent, which speaks IPv4, is let through, and the machine is observed.
. "$(dirname "$0")/lib/scenario.sh"

prepare() {
    ip -n "$NS" addr add fd00:77::1/64 dev "$BRIDGE" nodad
    sed -i -e '/^\[boot\]/a ipv6 = "fd00:77::1"' \
        -e '/^dedicated/a ipv6 = { subnet = "fd00:77::/64", range = ["fd00:77::1000", "fd00:77::10ff"] }' "$1/site/muster.toml"
}
mac_of() { (. "$bed/machines/$1/machine.env" && echo "$MAC"); }
explained() { muster --output json boot explain "$(mac_of "$1")"; }
# fetched HOW FILE: that was sent whole to an address of a lease over IPv6.
fetched() {
    grep -aE "sent .*via=$1 .*peer=\[fd00:77::1[0-9a-f]{3}\]:.*path=\"?/?$2\"? .*how=\"?whole" "$bed/muster.log" >/dev/null
}

site
machine "$bed" node1 firmware=http 'boot_uri=http://[fd00:77::1]:8080/boot/ipxe.efi'
discovered node1 600
fetched Http boot/ipxe.efi || fail "the loader did not go out by HTTP over IPv6"
explained node1 | holds "the firmware got its address by DHCPv6" \
    '.. | strings | select(test("REQUEST: REPLY fd00:77::1[0-9a-f]{3}")) | length > 0'
# As a golden list for the rules.
muster --output json boot explain node1 --boots 10 | tee "$bed/boot.json" | holds "one boot is told as one boot" \
    '.[0].boots | map(.diagnosis.label) == ["agent-spoke"]'
jq '[.boots[0].entries[] | {at, mac, what: .body} | del(..|nulls)]' "$bed/boot.json" >"$build/timeline-http6.json"
note "UEFI HTTP boot over IPv6, and on to ready"

machine "$bed" guest firmware=uefi serial=NOBODYS manufacturer=Unheard product=Of \
    qemu='-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n'
ip netns exec "$NS" nft -f - <<RULES
table bridge deaf {
    chain c {
        type filter hook prerouting priority 0
        iifname swp2 ether type { ip, arp } drop
    }
}
RULES
bmc guest chassis bootdev pxe
bmc guest chassis power on
for _ in $(seq 420); do
    if fetched Http boot/initrd.zst; then break; fi
    sleep 1
done
for file in "Tftp ipxe.efi" "Http b/$(mac_of guest | tr : -)/boot.ipxe" "Http boot/vmlinuz" "Http boot/initrd.zst"; do
    # shellcheck disable=SC2086
    fetched $file || fail "$file did not go out over IPv6: $(muster boot explain "$(mac_of guest)")"
done
note "UEFI PXE, loader, script, kernel and boot image over IPv6 alone"
ip netns exec "$NS" nft delete table bridge deaf
found=
for _ in $(seq 420); do
    found=$(muster --output json machine list |
        jq -r '[.. | objects | select((.name? // "") | startswith("observed-")) | .name] | first // empty')
    [ -z "$found" ] || break
    sleep 1
done
[ -n "$found" ] || fail "the guest was not seen: $(muster boot explain "$(mac_of guest)")"
note "and on to observed"
whole
