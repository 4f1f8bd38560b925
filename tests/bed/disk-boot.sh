#!/bin/bash
# disk-boot.sh OS_DIR [DIR [bios|uefi ...]]: proves an OS image without an installer: writes it to a disk as the agent
# does (backup GPT moved, root partition grown, a seed volume named CIDATA at the end), boots it, prints the seconds.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
os=$1 dir=${2:-$bed_repo/.build/disk-boot}
shift; shift || true
paths=("$@")
[ ${#paths[@]} -gt 0 ] || paths=(bios uefi)
run="$bed_scripts/bed.sh"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# seed DISK NAME: the partitions and the NoCloud files.
seed() {
    local start last
    sgdisk -e "$1" >/dev/null
    start=$(sgdisk -i 3 "$1" | awk '/First sector/ {print $3}')
    last=$(sgdisk -E "$1" 2>/dev/null | tail -1)
    last=$(((last - 65536) / 2048 * 2048 - 1))
    sgdisk -d 3 -n "3:$start:$last" -t 3:8304 -c 3:root -n "4:$((last + 1)):0" -t 4:8300 -c 4:seed "$1" >/dev/null
    rm -rf "$dir/seed" && mkdir "$dir/seed"
    printf 'instance-id: %s\nlocal-hostname: %s\ndsmode: local\n' "$2-1" "$2" >"$dir/seed/meta-data"
    printf 'version: 2\nethernets:\n  port0:\n    match: {macaddress: "%s"}\n    addresses: [10.77.0.9/24]\n' "$MAC" >"$dir/seed/network-config"
    cat >"$dir/seed/user-data" <<'CLOUD'
#cloud-config
users:
  - {name: keeper, groups: [sudo], shell: /bin/bash, ssh_authorized_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBedBedBedBedBedBedBedBedBedBedBedBedBedBedBedB bed"]}
write_files:
  - {path: /etc/muster/agent.json, permissions: "0600", content: "{}"}
runcmd:
  - [sh, -c, "(echo BED host $(hostname) root $(df -m --output=size / | tail -1) MiB users $(id -un keeper) address $(hostname -I); while ! systemd-analyze time 2>&1; do sleep 1; done; systemd-analyze blame | head -25; systemd-analyze critical-chain --no-pager; systemctl --failed --no-legend --no-pager; cat /proc/cmdline; echo BED analyzed) >/dev/ttyS0 2>&1 &"]
CLOUD
    rm -f "$dir/seed.img"
    truncate -s 31M "$dir/seed.img"
    mkfs.vfat -n CIDATA "$dir/seed.img" >/dev/null
    mcopy -i "$dir/seed.img" "$dir"/seed/* ::
    dd if="$dir/seed.img" of="$1" bs=512 seek=$((last + 1)) conv=notrunc status=none
}

trap '"$run" down "$dir"' EXIT
zstd -q -d -f --sparse "$os/disk.raw.zst" -o "$dir/os.raw"
"$run" up "$dir"
load_bed "$dir"
failed=0
for path in "${paths[@]}"; do
    "$run" add "$bed" "$path" firmware="$path" ${MACHINE:-} disk=4G disk_image="$dir/os.raw"
    load_machine "$path"
    seed "$machine/disk.raw" "$path"
    ip netns exec "$NS" ipmitool -I lanplus -C 3 -H "$BMC" -U "$BMC_USER" -P "$BMC_PASSWORD" chassis power on >/dev/null
    begin=$(date +%s%N)
    for mark in 'Run /init|Loading, please wait' 'Welcome to' "cloud-init.*running 'init-local'" 'muster-agent.service|muster-agent\[' ' login:' 'BED analyzed'; do
        while ! sed 's/\x1b\[[0-9;]*m//g; s/\r//g' "$machine/serial.log" 2>/dev/null | grep -aqE "$mark"; do
            if [ $((($(date +%s%N) - begin) / 1000000000)) -gt 240 ] || ! alive "$machine/qemu.pid"; then
                say "$path: no \"$mark\": see $machine/serial.log"
                failed=1
                break 2
            fi
            sleep 0.2
        done
        read -r pid _ <"$machine/qemu.pid"
        printf '%-5s %6.1f s  cpu %6.1f s  %s\n' "$path" "$((($(date +%s%N) - begin) / 100000000))e-1" \
            "$(awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$pid/stat")e-2" "$mark"
    done
    tr -d '\r' <"$machine/serial.log" | sed -n '/^BED host/,/^BED analyzed/p' || true
    ip netns exec "$NS" ipmitool -I lanplus -C 3 -H "$BMC" -U "$BMC_USER" -P "$BMC_PASSWORD" chassis power off >/dev/null
done
rm -f "$dir/os.raw"
exit $failed
