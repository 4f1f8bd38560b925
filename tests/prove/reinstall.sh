#!/usr/bin/env bash
# A machine in service, whose own disk boots first, is installed anew: over its owner's data, which needs a reimage and
# the drain; and by way of a release, whose wipe is proven before it is Ready again.
. "$(dirname "$0")/lib/scenario.sh"

# The order the installed system itself says it comes from.
order_on_disk() { events node1 | jq -rs '[.[] | select(.kind == "check-judged") | .body.detail.checked.order] | last'; }
# What firmware of a machine at rest starts from.
own_disk() { tail -n 1 <(grep started "$bed/machines/node1/power.log") | grep -q 'started from disk' || fail "$1"; }

site
machine "$bed" node1 firmware=bios
disk=$bed/machines/node1/disk.raw
discovered node1
ordered node1
served node1
first=$(order_on_disk)
own_disk "after the install it does not boot its own disk"

if muster install debian-12 node1 --yes --user 'ops!' >/dev/null 2>&1; then fail "an owner's data was to be overwritten without a reimage"; fi
ordered node1 --reimage
[ "$(state node1)" = draining ] || fail "the reimage did not wait for the drain but is $(state node1)"
events node1 | holds "nothing is switched while it drains" 'last | .kind == "entered" and .body.to.at.state == "draining"'
muster machine drained node1 --yes >/dev/null
served node1
second=$(order_on_disk)
[ "$second" != "$first" ] || fail "the reinstalled system still speaks of the first order $first"
own_disk "after the reimage it does not boot its own disk"

muster machine release node1 --yes >/dev/null
[ "$(state node1)" = draining ] || fail "the release did not wait for the drain but is $(state node1)"
muster machine drained node1 --yes >/dev/null
becomes node1 ready 400
events node1 | holds "the wipe is proven, disk by disk" \
    '[.[] | select(.kind == "wipe-reported")] | length == 1 and .[0].body.event.ok and (.[0].body.detail.wiped | tostring | contains("DISK00001"))'
empty "$disk" 1048576 || fail "the wiped disk still begins with something"
show node1 | holds "nobody's data is on it" '.[0]["data-bearing"] == false'
ordered node1
served node1
third=$(order_on_disk)
[ "$third" != "$second" ] && [ "$third" != "$first" ] || fail "the third install speaks of an earlier order"
events node1 | holds "three orders, each closed once as installed" \
    '[.[] | select(.kind == "order-closed") | .body.detail] | length == 3 and all(.[]; .outcome == "installed") and ([.[].order] | unique | length) == 3'
whole
note "reimaged after its drain, released with a proven wipe, installed again"
