#!/bin/bash
# reference.sh [DIR [bios|uefi|http ...]]: proves the bed and the boot image with other people's servers (dnsmasq, Python's
# HTTP server), so that a failure of the same path under Muster is Muster's. Prints the seconds from power-on to each stage.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
dir=${1:-$bed_repo/.build/reference}
shift || true
paths=("$@")
[ ${#paths[@]} -gt 0 ] || paths=(bios uefi http)
run="$bed_scripts/bed.sh"

mkdir -p "$dir/www/boot"
dir=$(cd "$dir" && pwd)
"$bed_repo/pxe-images/boot-image/build.sh" "$dir/www/boot" "${AGENT:-/bin/busybox}"
cp /usr/lib/ipxe/ipxe.efi /usr/lib/ipxe/undionly.kpxe "$dir/www/boot/"

# A later archive wins, so this small one replaces the agent, just as the daemon's brings the machine's token.
rm -rf "$dir/extra" && mkdir -p "$dir"/extra/{bin,etc/muster}
cp "$bed_scripts/reference/init" "$dir/extra/init"
cp /bin/busybox "$dir/extra/bin/"
echo '{"reference": true}' >"$dir/extra/etc/muster/agent.json"
(cd "$dir/extra" && find . -mindepth 1 | cpio -o -H newc --quiet --owner 0:0) >"$dir/www/boot/agent.cpio"
echo hello >"$dir/www/hello"
cat >"$dir/www/boot.ipxe" <<'S'
#!ipxe
kernel http://10.77.0.1/boot/vmlinuz initrd=initrd.zst initrd=agent.cpio console=ttyS0,115200 loglevel=4
initrd --name initrd.zst http://10.77.0.1/boot/initrd.zst
initrd --name agent.cpio http://10.77.0.1/boot/agent.cpio
boot
S
cat >"$dir/dnsmasq.conf" <<CONF
port=0
interface=br0
bind-interfaces
dhcp-range=10.77.0.50,10.77.0.200,255.255.255.0,1h
dhcp-leasefile=$dir/leases
log-dhcp
enable-tftp
tftp-root=$dir/www/boot
user=root
no-ping
enable-ra
dhcp-range=fd77::,ra-only
dhcp-userclass=set:ipxe,iPXE
dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:efi64,option:client-arch,7
dhcp-match=set:efihttp,option:client-arch,16
dhcp-boot=tag:ipxe,http://10.77.0.1/boot.ipxe
dhcp-boot=tag:bios,tag:!ipxe,undionly.kpxe
dhcp-boot=tag:efi64,tag:!ipxe,ipxe.efi
dhcp-option-force=tag:efihttp,60,HTTPClient
dhcp-boot=tag:efihttp,tag:!ipxe,http://10.77.0.1/boot/ipxe.efi
CONF
trap '"$run" down "$dir"' EXIT
"$run" up "$dir"
load_bed "$dir"
ip -n "$NS" addr add fd77::1/64 dev br0 nodad # or dnsmasq sends no router advertisement, and iPXE waits 13 s for one
launch "$bed/pids/dnsmasq.pid" "$dir/dnsmasq.log" ip netns exec "$NS" dnsmasq -k -C "$dir/dnsmasq.conf" --log-facility=-
launch "$bed/pids/http.pid" "$dir/http.log" ip netns exec "$NS" /usr/bin/python3 -u -m http.server -p HTTP/1.1 -d "$dir/www" -b 10.77.0.1 80
sleep 0.5
for server in dnsmasq http; do alive "$bed/pids/$server.pid" || die "$server did not start: see $dir/$server.log"; done

failed=0
for path in "${paths[@]}"; do
    "$run" add "$bed" "$path" firmware="$path"
    load_machine "$path"
    bmc() { ip netns exec "$NS" ipmitool -I lanplus -C 3 -H "$BMC" -U "$BMC_USER" -P "$BMC_PASSWORD" "$@"; }
    bmc chassis bootdev pxe >/dev/null
    bmc chassis power on >/dev/null
    begin=$(date +%s.%N)
    say "$path: powered on"
    shown=0 ok=
    while [ $(($(date +%s) - ${begin%.*})) -lt 120 ]; do
        lines=$(grep -ac STAGE "$machine/serial.log" 2>/dev/null || true)
        if [ "${lines:-0}" -gt "$shown" ]; then
            now=$(date +%s.%N)
            grep -a STAGE "$machine/serial.log" | tail -n "+$((shown + 1))" | tr -d '\r' |
                while read -r line; do awk -v a="$begin" -v b="$now" -v p="$path" -v l="$line" 'BEGIN {printf "%-5s %6.1f s  %s\n", p, b - a, l}'; done
            shown=$lines
            if grep -aq 'STAGE hello' "$machine/serial.log"; then ok=1; fi
            if grep -aq 'STAGE done' "$machine/serial.log"; then break; fi
        fi
        sleep 0.2
    done
    [ -n "$ok" ] || { say "$path: no hello within 120 s: see $machine/serial.log"; failed=1; }
    bmc chassis power off >/dev/null
done
exit $failed
