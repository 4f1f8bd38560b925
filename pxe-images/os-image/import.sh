#!/bin/bash
# import.sh FILE OUT_DIR: makes a cloud-init disk image of your own (raw, or raw packed by zstd, with a GPT) installable.
# Its id is OUT_DIR's name. Written are disk.raw.zst, manifest.json and os.toml; the last one goes to the data files as
# pxe-images/os/ID.toml.
#
# The image is only read: no mount, no loop device, nothing in it is run. What it must have is what the quality check
# later asks for: a root file system that can be told from any other, and cloud-init. The agent comes with the seed.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../common.sh"
[ $# = 2 ] || die "usage: import.sh FILE OUT_DIR"
file=$1 out=$2
export LC_ALL=C
need zstd partx blkid jq
[ -f "$file" ] && [ -r "$file" ] || die "$file is no file that can be read"
[ -s "$file" ] || die "$file is empty"
mkdir -p "$out"
id=$(basename "$(cd "$out" && pwd)")
[[ $id =~ ^[a-z0-9][a-z0-9.-]*$ ]] || die "the folder's name becomes the image's id: lower-case letters, digits, dots and dashes, not $id"

work=$(mktemp -d "$cache/import.XXXXXX")
trap 'rm -rf "$work"' EXIT

bytes_at() { od -An -v -tx1 -j "$1" -N "$2" "$raw" | tr -d ' \n'; }
convert() { die "$file is a $1 image; this makes a raw one: qemu-img convert -O raw '$file' disk.raw"; }

raw=$file packed=""
case $(bytes_at 0 8) in
    28b52ffd*)
        raw=$work/disk.raw packed=$file
        # The agent unpacks with the same limit: 128 MiB of window.
        zstd -q -d --sparse "$file" -o "$raw" ||
            die "$file does not unpack; pack it anew: zstd -d --long=31 -c '$file' | zstd -6 -o disk.raw.zst"
        ;;
    514649fb*) convert qcow2 ;;
    4b444d56*) convert VMDK ;;
    7668647866696c65) convert VHDX ;;
    636f6e6563746978) convert VHD ;;
    1f8b*) die "$file is packed by gzip: gunzip it first" ;;
    fd377a58*) die "$file is packed by xz: unxz it first" ;;
    425a68*) die "$file is packed by bzip2: bunzip2 it first" ;;
esac
[ "$(bytes_at 32769 5)" != 4344303031 ] || die "$file is a CD image, which holds an installer and no installed system"

# GPT: "EFI PART" in the second sector. Written as NR START SECTORS TYPE, sectors of 512 bytes.
[ "$(bytes_at 512 8)" = 4546492050415254 ] ||
    die "$file has no GPT at its beginning: Muster installs whole disks with a GPT (of 512-byte sectors)"
partx -g -r -o NR,START,SECTORS,TYPE "$raw" >"$work/parts" 2>"$work/error" ||
    die "the partition table of $file does not read: $(cat "$work/error")"

# The root: the partition that says so by its type (x86-64 root), else the largest Linux file system.
root_type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709
best=0 root_uuid="" root_nr="" root_start=0 root_kind=""
while read -r nr start sectors type; do
    # Its own command: blkid ends with 2 where it finds nothing.
    found=$(blkid -p -o export -O $((start * 512)) -S $((sectors * 512)) "$raw" 2>/dev/null) || continue
    kind=$(sed -n 's/^TYPE=//p' <<<"$found") uuid=$(sed -n 's/^UUID=//p' <<<"$found")
    case $kind in ext2 | ext3 | ext4 | xfs | btrfs) ;; *) continue ;; esac
    weight=$sectors
    [ "$type" != "$root_type" ] || weight=$((sectors + (1 << 60)))
    if [ -n "$uuid" ] && [ "$weight" -gt "$best" ]; then
        best=$weight root_uuid=$uuid root_nr=$nr root_start=$start root_kind=$kind
    fi
done <"$work/parts"
[ -n "$root_uuid" ] ||
    die "no root file system found in $file: of its $(wc -l <"$work/parts") partitions none is ext4, XFS or btrfs (LVM and encryption are not looked into)"

# How firmware can start it: a loader in the MBR with its partition, an EFI system partition.
boot=()
if grep -q ' 21686148-6449-6e6f-744e-656564454649$' "$work/parts" && [ -n "$(bytes_at 0 440 | tr -d 0)" ]; then boot+=(bios); fi
if grep -q ' c12a7328-f81f-11d2-ba4b-00a0c93ec93b$' "$work/parts"; then boot+=(uefi); fi
[ ${#boot[@]} -gt 0 ] ||
    die "no boot loader found in $file: neither an EFI system partition nor one for BIOS with a loader in the MBR"

if [[ $root_kind == ext* ]] && command -v debugfs >/dev/null &&
    ! debugfs -R 'stat /usr/bin/cloud-init' "$raw?offset=$((root_start * 512))" 2>/dev/null | grep -q '^Inode:'; then
    say "warning: partition $root_nr has no /usr/bin/cloud-init; without it nobody reads the seed, and the machine never reports"
fi

say "reading and packing $(($(stat -c %s "$raw") / 1048576)) MiB"
rm -f "$out"/{disk.raw.zst,manifest.json,os.toml}
if [ -n "$packed" ]; then
    cp --reflink=auto "$packed" "$work/disk.raw.zst"
else
    zstd -q -T0 -6 "$raw" -o "$work/disk.raw.zst"
fi
raw_sha256=$(sha "$raw") raw_bytes=$(stat -c %s "$raw")
jq -n --arg id "$id" --arg version "$id-${raw_sha256:0:16}" \
    --arg sha256 "$(sha "$work/disk.raw.zst")" --argjson bytes "$(stat -c %s "$work/disk.raw.zst")" \
    --arg raw_sha256 "$raw_sha256" --argjson raw_bytes "$raw_bytes" --arg root_uuid "$root_uuid" \
    '{id: $id, version: $version, file: "disk.raw.zst", sha256: $sha256, bytes: $bytes, raw_sha256: $raw_sha256,
      raw_bytes: $raw_bytes, root_uuid: $root_uuid, compression: "zstd", boot: $ARGS.positional}' \
    --args "${boot[@]}" >"$work/manifest.json"
# The seed takes 16 MiB behind the image.
cat >"$work/os.toml" <<TOML
# Written by pxe-images/os-image/import.sh.
id = "$id"
title = $(jq -n --arg name "$(basename "$file")" '"Own image " + $name')
evidence = { captured = "$raw_sha256" }
file = "disk.raw.zst"
manifest = "manifest.json"
firmware = $(jq -c .boot "$work/manifest.json")
min-disk-mib = $((raw_bytes / 1048576 + 18))
TOML
mv "$work"/{disk.raw.zst,manifest.json,os.toml} "$out/"
say "$(jq -r '"\(.id): root \(.root_uuid) in partition '"$root_nr"', boots by \(.boot | join(" and ")), \(.bytes / 1048576 | floor) MiB packed"' "$out/manifest.json")"
