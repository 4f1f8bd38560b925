#!/usr/bin/env bash
# A second disk full of somebody's data, in a machine that is discovered, commissioned and installed: not one of its bytes
# changes.
. "$(dirname "$0")/lib/scenario.sh"

site
# Of the size that the model allows, so that the machine is one of its kind with it.
machine "$bed" node1 firmware=uefi decoy=4G
disks=$bed/machines/node1
[ "$(digest "$disks/decoy.raw")" = "$(cat "$disks/decoy.sha256")" ] || fail "the decoy is not what it was made as"
discovered node1
show node1 | holds "the agent sees both disks" '.[0].inventory.disks | length == 2 and any(.[]; .serial | startswith("DECOY"))'
ordered node1
served node1
[ "$(digest "$disks/decoy.raw")" = "$(cat "$disks/decoy.sha256")" ] || fail "the decoy's bytes have changed"
events node1 | holds "the permit was for the machine's own disk alone" \
    '[.[] | select(.kind == "write-permitted") | .body.detail.disks[].serial] == ["DISK00001"]'
whole
note "the decoy's $(stat -c %s "$disks/decoy.raw") bytes are those of before"
