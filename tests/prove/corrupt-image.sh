#!/usr/bin/env bash
# One byte of an image is not the one its manifest speaks of: the machine never starts from it. It ends in Held with a
# ticket that says why, its order is closed as failed, and its disk has nothing at its beginning that firmware would boot.
. "$(dirname "$0")/lib/scenario.sh"

prepare() {
    local file=$1/images/debian-12/disk.raw.zst at byte
    mkdir -p "$1/images"
    cp -r "$IMAGES/debian-12" "$1/images/"
    at=$(($(stat -c %s "$file") / 2))
    byte=$(od -An -tu1 -j "$at" -N 1 "$file")
    # shellcheck disable=SC2059 # the byte is made here
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
    ! cmp -s "$file" "$IMAGES/debian-12/disk.raw.zst" || fail "the image was not changed"
    sed -i "s|^images .*|images     = \"$1/images\"|" "$1/site/muster.toml"
}

site
machine "$bed" node1 firmware=bios
discovered node1
ordered node1
until [ "$(state node1)" = held ]; do
    [ $(($(date +%s) - scenario_begun)) -lt $((600 * patience)) ] || fail "node1 is not held but $(state node1)"
    [[ $(state node1) =~ ^(installing|stopping|held)$ ]] || fail "node1 became $(state node1)"
    sleep 1
done
note "node1 is held"

tickets | holds "one ticket, for a refused install" '.[0] | length == 1 and .[0].cause == "install-refused"'
events node1 | holds "the agent said which digest it found" \
    'any(.[]; .kind == "install-reported" and (.body.detail.failure | tostring | test("digest")))'
events node1 | holds "the write was tried once and the order closed as failed" \
    '([.[] | select(.kind == "write-permitted")] | length) == 1 and
     ([.[] | select(.kind == "order-closed") | .body.detail.outcome] | length == 1 and (.[0] | startswith("failed")))'
muster --output json orders | holds "no order is open" '.[0] == []'
empty "$bed/machines/node1/disk.raw" 1048576 || fail "the disk begins with something a firmware might boot"
events node1 | holds "it was never led to its disk" 'all(.[]; .body.detail.act.target != "disk")'
whole
note "held, with a ticket; nothing to boot on the disk"
