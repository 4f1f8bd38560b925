#!/usr/bin/env bash
# BMCs that the rack layout does not name. One is found by the agent inside its machine, which makes an account on it; one is
# found by a scan and is ours by a manifest. Both end with a password that nobody knows, and somebody else's stays as it was.
. "$(dirname "$0")/lib/scenario.sh"

prepare() {
    sed -i '/^bmc = /d' "$1"/site/files/rack-layouts/*/*.toml
    if grep -q 'bmc' "$1"/site/files/rack-layouts/*/*.toml; then fail "the layout names a BMC still"; fi
    cat >>"$1/site/muster.toml" <<CONF

[bmc]
scan              = ["10.77.1.0/27"]
scan-minutes      = 0
accounts-by-agent = true
CONF
}
site
name=$(muster --output json machine list | jq -r '[.. | objects | select(has("serial")) | select(.serial == "MUSTER0001") | .name] | first')
machine "$bed" inside firmware=bios
machine "$bed" label firmware=bios serial=LABEL0001
machine "$bed" foreign firmware=bios serial=FOREIGN01
at() { (load_bed "$bed"; load_machine "$1"; echo "$BMC"); }
user() { (load_bed "$bed"; load_machine "$1"; echo "$BMC_USER $BMC_PASSWORD"); }
lets_in() { bmc "$1" mc info 2>/dev/null; }

note "what answers in the range is found, and nobody logs in"
muster --output json bmc scan | holds "three of the addresses have a BMC" '.[0].answered == 3'
muster --output json bmc found | holds "all three are observed" '.[0] | length == 3 and all(.standing == "observed")'

note "a manifest says that one is ours"
read -r login password <<<"$(user label)"
printf 'address,protocol,user,password,machine\n%s,ipmi,%s,%s,r9-label\n' "$(at label)" "$login" "$password" >"$bed/manifest.csv"
muster bmc manifest "$bed/manifest.csv" --dry-run >"$bed/looked"
grep -q 'nothing was changed' "$bed/looked" || fail "a look was taken for more: $(cat "$bed/looked")"
if grep -q "$password" "$bed/looked"; then fail "the look shows the password"; fi
muster bmc manifest "$bed/manifest.csv" --yes >/dev/null
own() { events "$1" | jq -se 'flatten | any(.kind == "bmc-password-changed")' >/dev/null; }
for _ in $(seq $((60 * patience))); do
    if own r9-label 2>/dev/null; then break; fi
    sleep 1
done
own r9-label || fail "r9-label has no password of its own: $(muster bmc awaited; tickets)"
if lets_in label; then fail "the password of the label is taken still"; fi
lets_in foreign || fail "somebody else's BMC was touched"
note "r9-label has a password that nobody knows"

note "$name is switched on by hand; its agent makes an account from inside"
bmc inside chassis bootdev pxe
bmc inside chassis power on
becomes "$name" ready 300
for _ in $(seq $((90 * patience))); do
    if own "$name"; then break; fi
    sleep 1
done
own "$name" || fail "$name's BMC was not adopted: $(muster bmc awaited; tickets; muster --output json bmc found)"
lets_in inside || fail "the account that was there is not taken any more"
show "$name" | holds "its BMC is known now" '.[0] | (.acts | type) == "array"'
muster --output json bmc found | holds "two are ours and one is observed" \
    '.[0] | [.[].standing] | sort == ["observed", "ours", "ours"]'
if muster --output json machine list | grep -q foreign; then fail "somebody else's machine was taken"; fi

note "from then on its power is ours to switch"
# Without a system that could answer in its place.
bmc inside chassis power off
before=$(switched inside started)
muster machine discover "$name" --yes >/dev/null
for _ in $(seq $((120 * patience))); do
    if [ "$(switched inside started)" -gt "$before" ]; then break; fi
    sleep 1
done
[ "$(switched inside started)" -gt "$before" ] || fail "$name was not switched: $(tickets)"
becomes "$name" ready 300
whole
