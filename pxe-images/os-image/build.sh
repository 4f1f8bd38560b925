#!/bin/bash
# build.sh OUT_DIR [AGENT]: an installable Debian image that starts under BIOS and UEFI (Secure Boot included), with
# cloud-init and, if given, the resident agent.
#
# In two steps, since they change at different times: the root tree (minutes, kept until the recipe or Debian's
# packages change) and the disk (seconds). Neither needs a loop device or a mount. Every disk has its own random root UUID:
# the quality check tells by it that a machine runs what was just written and not what was there before.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../common.sh"
[ $# = 1 ] || [ $# = 2 ] || die "usage: build.sh OUT_DIR [AGENT]"
out=$1 agent=${2:-}
export LC_ALL=C
need mmdebstrap sgdisk mkfs.vfat mmd mcopy mke2fs grub-mkimage zstd jq python3
[ "$(id -u)" = 0 ] || die "files in the image belong to root, so this runs as root"
[ -z "$agent" ] || must_be_static "$agent"

lists=$(apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(SITE)|$(RELEASE)|$(COMPONENT)|$(FILENAME)' 'Created-By: Packages' |
    awk -F'|' '$1 == "Debian" && $2 ~ /^bookworm/')
[ -n "$lists" ] || die "apt has no Debian 12 package lists: run apt-get update"
# The tree is as new as the packages that the list names; their dependencies' updates come with the next of those.
recipe() {
    (cd "$here" && { printf '%s\n' root.sh customize.sh excludes.txt packages.txt; find files -type f; } | sort | xargs cat)
    cat "$here/../boot-image/modules.txt"
    sed 's/#.*//' "$here/packages.txt" | xargs apt-cache policy | grep -E '^[a-z]|Candidate'
    candidate "$(kernel_package)"
}
root_key=$(recipe | sha256sum | cut -c1-16)
root=$cache/os-root-$root_key

exec 9>"$cache/os-image.lock"
flock 9
if [ ! -d "$root" ]; then
    say "building the root tree"
    rm -rf "$root.new"
    cut -d'|' -f3-5 <<<"$lists" | sort -u | awk -F'|' '{print "deb", $1, $2, $3}' >"$cache/os-sources.list"
    "$here/root.sh" "$root.new" "$cache/os-sources.list"
    mv -T "$root.new" "$root"
fi

# With an agent its units come too; without one the image is like anybody's, and the seed brings both.
place_agent() {
    local units=$root/etc/systemd/system name
    rm -f "$root/usr/sbin/muster-agent" "$units"/{,multi-user.target.wants/}muster-agent.{service,path}
    [ -n "$agent" ] || return 0
    install -m 755 "$agent" "$root/usr/sbin/muster-agent"
    install -m 644 "$here"/agent/muster-agent.{service,path} "$units/"
    for name in service path; do
        ln -s "/etc/systemd/system/muster-agent.$name" "$units/multi-user.target.wants/muster-agent.$name"
    done
}

disk_key=$( (echo "$root_key"; cat "$here/disk.sh" "$here/build.sh"; [ -z "$agent" ] || { cat "$here"/agent/*; sha "$agent"; }) | sha256sum | cut -c1-16)
disk=$cache/os-disk-$disk_key
if [ ! -d "$disk" ]; then
    say "making the disk"
    place_agent
    rm -rf "$disk.new" && mkdir -p "$disk.new"
    uuid=$(cat /proc/sys/kernel/random/uuid)
    "$here/disk.sh" "$root" "$disk.new/disk.raw" "$uuid"
    zstd -q -T0 -6 "$disk.new/disk.raw" -o "$disk.new/disk.raw.zst"
    kernel=$(basename "$(readlink "$root/vmlinuz")")
    jq -n --arg id debian-12 --arg version "$(cat "$root/etc/debian_version")-$disk_key" \
        --arg sha256 "$(sha "$disk.new/disk.raw.zst")" --argjson bytes "$(stat -c %s "$disk.new/disk.raw.zst")" \
        --arg raw_sha256 "$(sha "$disk.new/disk.raw")" --argjson raw_bytes "$(stat -c %s "$disk.new/disk.raw")" \
        --arg root_uuid "$uuid" --arg kernel "${kernel#vmlinuz-}" --arg agent "$([ -z "$agent" ] || sha "$agent")" \
        --arg agent_version "$([ -z "$agent" ] || "$agent" --version | awk '{print $NF}')" \
        '{id: $id, version: $version, file: "disk.raw.zst", sha256: $sha256, bytes: $bytes, raw_sha256: $raw_sha256,
          raw_bytes: $raw_bytes, root_uuid: $root_uuid, compression: "zstd", boot: ["bios", "uefi"], kernel: $kernel,
          agent_sha256: ($agent | if . == "" then null else . end),
          agent_version: ($agent_version | if . == "" then null else . end)}' >"$disk.new/manifest.json"
    rm "$disk.new/disk.raw"
    mv -T "$disk.new" "$disk"
fi
mkdir -p "$out"
for name in disk.raw.zst manifest.json; do
    ln -f "$disk/$name" "$out/$name" 2>/dev/null || cp --remove-destination "$disk/$name" "$out/$name"
done
say "$(jq -r '"Debian \(.version), \(.bytes / 1048576 | floor) MiB, \(.raw_bytes / 1048576 | floor) MiB on disk, root \(.root_uuid)"' "$out/manifest.json")"
