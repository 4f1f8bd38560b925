#!/bin/bash
# build.sh OUT_DIR AGENT [amd64|arm64]: the image that a machine boots over the network, which is Debian's signed kernel and an
# initramfs that holds the static agent as /init and the modules (with their firmware) for server NICs and storage.
#
# The initramfs is two zstd archives, one after the other, as the kernel allows: modules change with the kernel and
# compress slowly, the agent changes daily. Each is padded to 512 bytes, so that a further plain cpio (the machine's
# token) starts aligned however a loader joins the files. Same inputs, same bytes.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../common.sh"
[ $# = 2 ] || [ $# = 3 ] || die "usage: build.sh OUT_DIR AGENT [amd64|arm64]"
out=$1 agent=$2 debian=${3:-amd64}
case $debian in
    amd64) architecture=x86-64 machine=X86-64 loaders=() ;;
    # A machine of another architecture cannot have these packages installed, so the loaders come along with the image.
    arm64)
        architecture=arm64 machine=AArch64
        loaders=(shim-signed:shim/shimaa64.efi.signed grub-efi-arm64-signed:grub/arm64-efi-signed/grubnetaa64.efi.signed
            shim-helpers-arm64-signed:shim/mmaa64.efi.signed)
        ;;
    *) die "no boot image is made for $debian: amd64 or arm64" ;;
esac
limit=$((64 * 1024 * 1024))
export LC_ALL=C
need apt-get dpkg-deb modprobe depmod modinfo cpio zstd jq readelf
[ -x "$agent" ] || die "no program at $agent"
must_be_static "$agent"
readelf -h "$agent" | grep -q "Machine:.*$machine" || die "$agent is not a program for $debian"
for_architecture "$debian"
lists=("$here/modules.txt")
if [ "$debian" = arm64 ]; then lists+=("$here/modules-arm64.txt"); fi

package=$(kernel_package)
[ -n "$package" ] || die "apt knows no linux-image-$debian: run apt-get update"
version=$(candidate "$package")
tree=$(unpacked "$package")
release=${package#linux-image-}
SOURCE_DATE_EPOCH=$(stat -c %Y "$tree/boot/vmlinuz-$release")

# pack DIR FILE LEVEL: newc, sorted, root's, one date, zstd, padded.
pack() {
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$1" && find . -mindepth 1 -print0 | sort -z |
        cpio -o -0 -H newc --quiet --reproducible --owner 0:0) | zstd -q -T0 "-$3" >"$2"
    truncate -s %512 "$2"
}

firmware_packages="firmware-misc-nonfree firmware-bnx2 firmware-bnx2x firmware-qlogic firmware-netronome firmware-realtek"
firmware=()
for name in $firmware_packages; do
    [ -z "$(candidate "$name")" ] || firmware+=("$name=$(candidate "$name")")
done

# modules_archive FILE: modules, their dependencies, depmod's tables and the firmware that can be had.
modules_archive() {
    local work root module path name dir dirs=() missing=() wanted
    work=$(mktemp -d "$cache/modules.XXXXXX")
    root=$work/root
    [ -e "$tree/lib/modules/$release/modules.dep" ] || depmod -b "$tree" "$release"
    mkdir -p "$root/lib/modules/$release"
    for module in $(sed 's/#.*//' "${lists[@]}"); do
        modprobe -d "$tree" -S "$release" --show-depends "$module" 2>/dev/null || true
    done | awk '$1 == "insmod" {print $2}' | sort -u >"$work/list"
    while read -r path; do
        install -D -m 644 "$path" "$root${path#"$tree"}"
    done <"$work/list"
    cp "$tree/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$release/"
    depmod -b "$root" "$release"
    rm -f "$root/lib/modules/$release"/modules.{*.bin,symbols,devname,builtin.modinfo}
    for name in "${firmware[@]}"; do dirs+=("$(unpacked "${name%%=*}")/lib/firmware"); done
    for wanted in $(xargs -r modinfo -b "$tree" -k "$release" -F firmware <"$work/list" | sort -u); do
        for dir in "${dirs[@]}" ""; do
            if [ -n "$dir" ] && [ -e "$dir/$wanted" ]; then
                install -D -m 644 "$dir/$wanted" "$root/lib/firmware/$wanted"
                break
            fi
        done
        [ -n "$dir" ] || missing+=("$wanted")
    done
    sed 's|.*/||; s|\.ko$||' "$work/list" | jq -R . | jq -s . >"$1.modules"
    printf '%s\n' "${missing[@]}" | jq -R 'select(. != "")' | jq -s . >"$1.missing"
    pack "$root" "$work/archive" 19
    mv "$work/archive" "$1"
    rm -rf "$work"
}

key=$(cat "$here/build.sh" "${lists[@]}" <(echo "$debian $version ${firmware[*]}") | sha256sum | cut -c1-16)
modules=$cache/boot-modules-$key
if [ ! -e "$modules" ]; then
    say "packing modules of $release"
    modules_archive "$modules"
fi

work=$(mktemp -d "$cache/boot.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root"/{dev,etc/muster,proc,run,sys,tmp}
install -m 755 "$agent" "$work/root/init"
pack "$work/root" "$work/agent" 19

mkdir -p "$out"
cat "$modules" "$work/agent" >"$work/initrd.zst"
install -m 644 "$tree/boot/vmlinuz-$release" "$work/vmlinuz"
# For installed systems whose image has no agent; their seed fetches this one.
install -m 755 "$agent" "$work/muster-agent"
size=$(($(stat -c %s "$work/initrd.zst") + $(stat -c %s "$work/vmlinuz")))
[ "$size" -le "$limit" ] || die "kernel and initramfs are $size bytes, more than the $limit that the boot image may have: take modules out of modules.txt"
file() { jq -n --arg sha "$(sha "$1")" --argjson bytes "$(stat -c %s "$1")" '{sha256: $sha, bytes: $bytes}'; }
for loader in "${loaders[@]}"; do
    name=$(basename "$loader" .signed)
    # shim asks for its second stage by this name.
    install -D -m 644 "$(unpacked "${loader%%:*}")/usr/lib/${loader#*:}" "$work/loaders/${name/grubnet/grub}"
done
jq -n --arg kernel "$release" --arg architecture "$architecture" --arg package "$package=$version" --argjson firmware_packages \
    "$(printf '%s\n' "${firmware[@]}" | jq -R 'select(. != "")' | jq -s .)" \
    --argjson vmlinuz "$(file "$work/vmlinuz")" --argjson initrd "$(file "$work/initrd.zst")" \
    --argjson program "$(file "$work/muster-agent")" \
    --arg agent "$(sha "$agent")" --slurpfile modules "$modules.modules" --slurpfile missing "$modules.missing" \
    '{architecture: $architecture, kernel: $kernel, package: $package, files: {"vmlinuz": $vmlinuz, "initrd.zst": $initrd, "muster-agent": $program}, agent_sha256: $agent,
      firmware_packages: $firmware_packages, modules: $modules[0], missing_firmware: $missing[0]}' >"$work/manifest.json"
mv "$work"/{vmlinuz,initrd.zst,muster-agent,manifest.json} "$out/"
if [ -d "$work/loaders" ]; then
    rm -rf "$out/loaders"
    mv "$work/loaders" "$out/"
fi
say "kernel $release, $((size / 1024 / 1024)) MiB, $(jq '.modules | length' "$out/manifest.json") modules, $(jq '.missing_firmware | length' "$out/manifest.json") firmware files not to be had"
