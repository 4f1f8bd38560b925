#!/bin/bash
# disk.sh ROOT OUT UUID: the disk image. GPT with a BIOS boot partition, an ESP, and the root file system last so that
# it can grow. Without loop devices and mounts, so that it works in a container.
set -euo pipefail
root=$1 out=$2 uuid=$3
lib=/usr/lib
mib=$((1024 * 1024))
esp_mib=64 root_start_mib=66
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
esp_id=$(tr -dc 0-9A-F </dev/urandom | head -c 8 || true)

# The boot loader's configuration stands on the root file system and names no kernel version.
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<CFG
if serial --unit=0 --speed=115200; then terminal_output console serial; fi
set timeout=0
menuentry 'Debian' {
    linux /vmlinuz root=UUID=$uuid ro console=tty0 console=ttyS0,115200 loglevel=4
    initrd /initrd.img
}
menuentry 'Debian, previous kernel' {
    linux /vmlinuz.old root=UUID=$uuid ro console=tty0 console=ttyS0,115200 loglevel=4
    initrd /initrd.img.old
}
CFG
cat >"$root/etc/fstab" <<TAB
UUID=$uuid / ext4 defaults,noatime,errors=remount-ro,x-systemd.growfs 0 1
UUID=${esp_id:0:4}-${esp_id:4} /boot/efi vfat umask=0077,nofail,noauto,x-systemd.automount 0 0
TAB
printf 'search --no-floppy --fs-uuid --set=root %s\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' "$uuid" >"$work/stub.cfg"

# ESP: Microsoft-signed shim, Debian-signed GRUB. GRUB's built-in prefix is /EFI/debian.
truncate -s "${esp_mib}M" "$work/esp"
mkfs.vfat -F 32 -s 1 -i "$esp_id" -n ESP "$work/esp" >/dev/null
mmd -i "$work/esp" ::EFI ::EFI/BOOT ::EFI/debian
for dir in BOOT debian; do
    shim=shimx64.efi
    [ "$dir" = debian ] || shim=BOOTX64.EFI
    mcopy -i "$work/esp" $lib/shim/shimx64.efi.signed "::EFI/$dir/$shim"
    mcopy -i "$work/esp" $lib/shim/mmx64.efi.signed "::EFI/$dir/mmx64.efi"
    mcopy -i "$work/esp" $lib/grub/x86_64-efi-signed/grubx64.efi.signed "::EFI/$dir/grubx64.efi"
done
mcopy -i "$work/esp" "$work/stub.cfg" ::EFI/debian/grub.cfg

# The file system needs room for its own tables and for the first boot's logs; growfs does the rest.
used_mib=$(du -s --block-size=1M --apparent-size "$root" | cut -f1)
root_mib=$((used_mib * 115 / 100 + 160))
rm -f "$out"
truncate -s $(((root_start_mib + root_mib + 1) * mib)) "$out"
sgdisk --set-alignment=2048 \
    -n 1:2048:4095 -t 1:ef02 -c 1:bios \
    -n 2:4096:$((root_start_mib * 2048 - 1)) -t 2:ef00 -c 2:esp \
    -n 3:$((root_start_mib * 2048)):$(((root_start_mib + root_mib) * 2048 - 1)) -t 3:8304 -c 3:root "$out" >/dev/null
dd if="$work/esp" of="$out" bs=1M seek=2 conv=notrunc,sparse status=none
mke2fs -q -t ext4 -U "$uuid" -L root -b 4096 -m 1 -d "$root" \
    -E "offset=$((root_start_mib * mib)),lazy_itable_init=0,lazy_journal_init=0" "$out" "${root_mib}M"

# BIOS: boot.img in the MBR points to core.img in partition 1, whose first sector lists the rest.
grub-mkimage -O i386-pc -o "$work/core.img" -p /boot/grub -c "$work/stub.cfg" \
    part_gpt ext2 biosdisk search search_fs_uuid configfile linux normal echo serial terminal boot gzio zstd test
python3 - "$out" "$work/core.img" $lib/grub/i386-pc/boot.img <<'PY'
import struct, sys
START = 2048
disk, core_path, boot_path = sys.argv[1:]
core = bytearray(open(core_path, "rb").read())
boot = bytearray(open(boot_path, "rb").read())
sectors = (len(core) + 511) // 512
assert sectors < 2048, "core.img does not fit its partition"
struct.pack_into("<Q", boot, 0x5C, START)           # where boot.img finds core.img
boot[0x66:0x68] = b"\x90\x90"                        # trust the drive number that the BIOS gives
struct.pack_into("<QH", core, 0x1F4, START + 1, sectors - 1)
with open(disk, "r+b") as image:
    mbr = bytearray(image.read(512))
    mbr[:440] = boot[:440]                           # the partition table of the protective MBR stays
    image.seek(0)
    image.write(mbr)
    image.seek(START * 512)
    image.write(core)
PY
