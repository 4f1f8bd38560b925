#!/bin/bash
# root.sh DIR SOURCES: the root tree of the OS image, by mmdebstrap from the given apt sources.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$1 sources=$2
words() { sed 's/#.*//' "$1" | xargs; }
section() { awk -v want="[$1]" '/^#/ {on = index($0, want)} !/^#/ && on' "$2" | xargs -n1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ section storage "$here/../boot-image/modules.txt"; echo ext4; } >"$work/modules"
sed -n 's/^\//path-exclude=\//p' "$here/excludes.txt" >"$work/excludes"

mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --include="$(words "$here/packages.txt" | tr ' ' ,)" \
    --aptopt='APT::Install-Recommends "false"' --dpkgopt='force-confold' \
    --setup-hook='mkdir -p "$1/etc/dpkg/dpkg.cfg.d" "$1/usr/share/initramfs-tools/modules.d"' \
    --setup-hook="cp $work/excludes \"\$1/etc/dpkg/dpkg.cfg.d/muster\"" \
    --essential-hook="mkdir -p \"\$1/usr/share/initramfs-tools/modules.d\"; cp $work/modules \"\$1/usr/share/initramfs-tools/modules.d/muster\"" \
    --essential-hook="cp -rT $here/files \"\$1\"" \
    --customize-hook="$here/customize.sh \"\$1\"" \
    bookworm "$dir" "$sources"
