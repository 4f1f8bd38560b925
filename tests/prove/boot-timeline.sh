#!/usr/bin/env bash
# Why does it not boot? Real firmware, three times: a good boot shows every stage in order with plausible lengths; a boot
# whose loader's file is missing names the file; a machine that is switched on without its cable is told as never asked.
. "$(dirname "$0")/lib/scenario.sh"

explain() { muster --output json boot explain "$@"; }
# told LABEL MACHINE SECONDS: the newest boot, or the last of those before it, comes to this.
told() {
    local until=$(($(date +%s) + $3)) now=""
    while [ "$(date +%s)" -lt "$until" ]; do
        now=$(explain "$2" --boots 3 | jq -r '[.boots[].diagnosis.label] | join(" ")')
        if [[ " $now " == *" $1 "* ]]; then return 0; fi
        sleep 1
    done
    fail "$2 is told as ${now:-nothing} after $3 s, not as $1: $(muster boot explain "$2")"
}

site
machine "$bed" node1 firmware=uefi
mac=$(. "$bed/machines/node1/machine.env" && echo "$MAC")
port=$(. "$bed/machines/node1/machine.env" && echo "$PORT")
explain "$mac" | holds "a machine that was never heard of is told so" \
    '.[0] | .diagnosis.label == "never-seen" and (.diagnosis.next | contains("cable")) and .boots == []'

discovered node1
sleep 2
explain node1 | tee "$bed/good.json" | holds "the boot came to its agent" \
    '.[0].boots[0] | .diagnosis.label == "agent-spoke" and .diagnosis.grade == "well"'
holds "every stage is there, in order, none shorter than nothing or longer than minutes" '
    .[0].boots[0].stages | [.[].stage] == ["power", "address", "loader", "script", "kernel", "system", "agent"]
    and all(.[:-1][]; .millis > 0 and .millis < 240000) and ([.[].began] | . == sort)' <"$bed/good.json"
holds "loader, kernel and initramfs came whole, with their sizes" '
    [.[0].boots[0].entries[].body | select(.type == "fetch" and .how == "whole") | {(.file): .bytes}] | add
    | .loader > 100000 and .kernel > 1000000 and .initrd > 1000000 and .token > 0' <"$bed/good.json"
holds "the switch that Muster threw, the packets, the script and the agent stand in one list" '
    [.[0].boots[0].entries[].kind] | contains(["power", "discover", "request", "tftp", "http", "script", "log", "agent"])' <"$bed/good.json"
holds "the boot image told its system log" '
    any(.[0].boots[0].entries[]; .kind == "log" and (.answer | contains("the boot image has its network")))' <"$bed/good.json"
# As a golden list for the rules: every entry as it is kept.
jq '[.boots[0].entries[] | {at, mac, what: .body} | del(..|nulls)]' "$bed/good.json" >"$build/timeline-uefi.json"
muster boot explain node1 | sed 's/^/        /'
note "a good boot is told with $(jq '.boots[0].entries | length' "$bed/good.json") entries"

end "$bed/pids/muster.pid"
serve "$bed"
explain node1 | holds "after a restart the list is as it was" \
    '.[0].boots[0].entries == $before.boots[0].entries' --argjson before "$(cat "$bed/good.json")"
muster boot list node1 | sed 's/^/        /'
curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics" | grep -q '^muster_boot_diagnoses_total{diagnosis="agent-spoke"}' ||
    fail "the metrics do not count what boots come to"
note "after a restart the list is still there"

sed -i 's|/usr/lib/ipxe/ipxe.efi|/usr/lib/ipxe/not-installed.efi|' "$bed/site/files/pxe-images/loaders/"*.toml
muster reload >/dev/null
# A machine that is switched off has no agent in RAM that could look again without a boot.
muster machine hold node1 --why "its loader is missing" --yes >/dev/null
bmc node1 chassis power off
sleep 3
muster machine resume node1 --to discover --yes >/dev/null
told not-given node1 180
explain node1 --boots 3 | tee "$bed/missing.json" | holds "the missing file is named, with what to do" '
    [.[0].boots[] | select(.diagnosis.label == "not-given")] | last.diagnosis
    | .words == "the loader'"'"'s file ipxe.efi is not there" and (.next | contains("muster check"))'
jq '[[.boots[] | select(.diagnosis.label == "not-given")] | last.entries[] | {at, mac, what: .body} | del(..|nulls)]' \
    "$bed/missing.json" >"$build/timeline-missing-loader.json"
note "a missing loader is told: $(jq -r '[.boots[] | select(.diagnosis.label == "not-given")] | last.diagnosis.words' "$bed/missing.json")"

sed -i 's|/usr/lib/ipxe/not-installed.efi|/usr/lib/ipxe/ipxe.efi|' "$bed/site/files/pxe-images/loaders/"*.toml
muster reload >/dev/null
muster machine hold node1 --why "its cable is pulled" --yes >/dev/null
bmc node1 chassis power off
sleep 3
(load_bed "$bed" && ip -n "$NS" link set "$port" down)
muster machine resume node1 --to discover --yes >/dev/null
told never-asked node1 60
sleep 20
explain node1 | holds "power without a word names cable, VLAN and boot order" '
    .[0].diagnosis | .label == "never-asked" and (.words | test("power was switched on [0-9]+ s ago and nothing was heard"))
    and (.next | contains("cable, VLAN and relay") and contains("boot order"))'
note "without its cable: $(explain node1 | jq -r .diagnosis.words)"
(load_bed "$bed" && ip -n "$NS" link set "$port" up)
whole
