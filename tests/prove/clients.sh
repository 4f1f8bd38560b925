#!/usr/bin/env bash
# Debian's own clients against the daemon, without a virtual machine: dhclient and udhcpc take an address, keep it under
# either name and give it back; what plays firmware is told what to boot; tftp-hpa, atftp and curl fetch it whole.
. "$(dirname "$0")/lib/scenario.sh"

leave() { [ -z "${C:-}" ] || ip netns del "$C" 2>/dev/null || true; }
site
C=$NS-c
mac=52:54:00:77:99:01
ip netns add "$C"
ip -n "$NS" link add swp90 type veth peer name eth0 netns "$C" address $mac
ip -n "$NS" link set swp90 master br0 up
ip -n "$C" link set eth0 up
ip -n "$C" link set lo up
in_c() { ip netns exec "$C" "$@"; }

# Both clients call it: what they were told lies in told.REASON, and the address is taken or given up.
cat >"$bed/hook" <<HOOK
#!/bin/sh
env >"$bed/told.\${reason:-\$1}"
case "\${reason:-\$1}" in
BOUND | REBOOT | RENEW) ip addr replace "\$new_ip_address/24" dev eth0 ;;
bound | renew) ip addr replace "\$ip/24" dev eth0 ;;
RELEASE | deconfig | PREINIT) ip addr flush dev eth0 ;;
esac
HOOK
chmod +x "$bed/hook"
told() { sed -n "s/^$2=//p" "$bed/told.$1"; }
same() { [ "$2" = "$3" ] || fail "$1: expected $3, found ${2:-nothing}"; }
seen() { heard_of "$mac" | jq -r '.[] | "\(.kind): \(.answer)"'; }

note "dhclient: a lease, its renewal after a reboot, and its end"
dhclient() { in_c timeout 60 dhclient -4 -v -cf /dev/null -lf "$bed/leases" -pf "$bed/dhclient.pid" -sf "$bed/hook" "$@" eth0; }
: >"$bed/leases"
dhclient -1 2>"$bed/dhclient.log" || fail "dhclient has no lease: $(tail -n 3 "$bed/dhclient.log")"
address=$(told BOUND new_ip_address)
[[ $address == 10.77.0.* ]] || fail "dhclient was given ${address:-nothing}"
same "lease time" "$(told BOUND new_dhcp_lease_time)" 3600
same "server" "$(told BOUND new_dhcp_server_identifier)" 10.77.0.1
same "mask" "$(told BOUND new_subnet_mask)" 255.255.255.0
for step in DHCPDISCOVER DHCPOFFER DHCPREQUEST DHCPACK; do grep -q $step "$bed/dhclient.log" || fail "no $step in dhclient's log"; done
in_c dhclient -x -pf "$bed/dhclient.pid" eth0 2>/dev/null || true
dhclient -1 2>"$bed/dhclient.log" || fail "dhclient did not get its lease again"
if grep -q DHCPDISCOVER "$bed/dhclient.log"; then fail "the rebooted client had to start anew"; fi
same "address after a reboot" "$(told REBOOT new_ip_address)" "$address"
dhclient -r 2>>"$bed/dhclient.log"
for _ in $(seq 20); do if seen | grep -q '^release: noted'; then break; fi; sleep 0.5; done
seen | grep -q '^release: noted' || fail "the release was not seen: $(seen)"

note "udhcpc: another client id, the same machine, the same address"
udhcpc() { in_c timeout 60 busybox udhcpc -f -n -q -i eth0 -s "$bed/hook" "$@" >"$bed/udhcpc.log" 2>&1; }
udhcpc || fail "udhcpc has no lease: $(cat "$bed/udhcpc.log")"
same "udhcpc's address" "$(told bound ip)" "$address"
same "udhcpc's lease" "$(told bound lease)" 3600
udhcpc -V 'PXEClient:Arch:00007:UNDI:003016' -x 0x5d:0007 || fail "no lease for what plays UEFI firmware"
same "boot file" "$(told bound boot_file)" ipxe.efi
same "next server" "$(told bound siaddr)" 10.77.0.1
same "lease of a boot stage" "$(told bound lease)" 300
udhcpc -V 'PXEClient:Arch:00000:UNDI:002001' -x 0x5d:0000 || fail "no lease for what plays BIOS firmware"
same "boot file" "$(told bound boot_file)" undionly.kpxe
udhcpc -V 'HTTPClient:Arch:00016:UNDI:003001' -x 0x5d:0010 || fail "no lease for what plays HTTP boot"
same "boot file" "$(told bound boot_file)" http://10.77.0.1:8080/boot/ipxe.efi
udhcpc -V onie_vendor:x86_64-test -x 0x4d:"$(printf onie_dhcp_user_class | od -An -tx1 | tr -d ' \n')" || fail "no lease for what plays ONIE"
same "boot file for ONIE" "$(told bound boot_file)" ""
for _ in $(seq 20); do
    if heard_of "$mac" | jq -e 'any(.[]; (.body["known-as"] // "") | startswith("ONIE"))' >/dev/null; then break; fi
    sleep 0.5
done
heard_of "$mac" | holds "ONIE shows under its name" '.[0] | any(.[]; (.body["known-as"] // "") | startswith("ONIE"))'

note "tftp-hpa, atftp and curl: the loader, whole"
loader=/usr/lib/ipxe/ipxe.efi
whole_file() { cmp -s "$2" "$loader" || fail "$1 did not bring the whole loader"; }
in_c timeout 120 tftp -m binary 10.77.0.1 -c get ipxe.efi "$bed/hpa" || fail "tftp-hpa failed"
whole_file tftp-hpa "$bed/hpa"
in_c timeout 120 atftp --option 'blksize 1428' --option 'windowsize 8' --get -r ipxe.efi -l "$bed/atftp" 10.77.0.1 || fail "atftp failed"
whole_file atftp "$bed/atftp"
in_c timeout 120 atftp --get -r /ipxe.efi -l "$bed/atftp-plain" 10.77.0.1 || fail "atftp without options failed"
whole_file "atftp without options" "$bed/atftp-plain"
if in_c timeout 60 atftp --put -r evil -l "$bed/hook" 10.77.0.1 2>/dev/null; then fail "a write was taken"; fi
url=http://10.77.0.1:8080/boot/ipxe.efi
in_c curl -sf --max-time 60 -o "$bed/curl" $url
whole_file curl "$bed/curl"
head -c 1000 "$loader" >"$bed/resumed"
in_c curl -sf --max-time 60 -C - -o "$bed/resumed" $url
whole_file "curl, resumed" "$bed/resumed"
same "HEAD's length" "$(in_c curl -sfI --max-time 60 $url | tr -d '\r' | sed -n 's/^content-length: //Ip')" "$(stat -Lc %s "$loader")"
note "every client was served"
