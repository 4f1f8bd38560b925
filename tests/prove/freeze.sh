#!/usr/bin/env bash
# The red button, pressed while an install is being carried out: within a second nothing new goes out, neither to a BMC nor
# to a disk, and no new plan is executed. Released, the install goes on to its end.
. "$(dirname "$0")/lib/scenario.sh"

# What goes out: claims, phases and permits in the log.
outgoing() { events node1 | jq -s '[.[] | select(.kind == "act-claimed" or .kind == "act-phase" or .kind == "write-permitted")] | length'; }
# What the chassis was told to do after a moment, in seconds of the day.
told_after() { awk -v t="$1" '$2 == "set" && $1 > t' "$bed/machines/node1/power.log"; }

# stands SECONDS: from a second after the button on, nothing moves for so long.
stands() {
    sleep 1
    local count pressed
    pressed=$(date +%s.%3N)
    count=$(outgoing)
    sleep "$1"
    [ "$(outgoing)" = "$count" ] || fail "$(($(outgoing) - count)) things went out while everything was frozen"
    [ -z "$(told_after "$pressed")" ] || fail "the BMC was told while everything was frozen: $(told_after "$pressed")"
}

site
machine "$bed" node1 firmware=bios
muster machine discover node1 --yes >/dev/null
# In the middle of the first power procedure: between its phases.
until events node1 | jq -se 'any(.[]; .kind == "act-phase")' >/dev/null; do sleep 0.05; done
muster freeze "a drill" >/dev/null
stands 10
note "frozen in the middle of a power procedure: nothing went out for 10 s"
muster machine list | grep -q node1 || fail "a frozen site cannot be looked at"
muster unfreeze "the drill is over" >/dev/null
becomes node1 ready 300

ordered node1
muster freeze "another drill" >/dev/null
stands 10
note "frozen right after the order: nothing went out for 10 s"
if muster machine release node1 --yes >/dev/null 2>&1; then fail "a plan was executed while everything was frozen"; fi
muster unfreeze "the drill is over" >/dev/null
served node1
events node1 | holds "one order, closed once as installed" \
    '[.[] | select(.kind == "order-closed") | .body.detail.outcome] == ["installed"]'
whole
