#!/usr/bin/env bash
# A typo in a data file: `muster check` names file, line, column and the words allowed; a reload refuses it and the set
# that was read before stays in force, as a whole.
. "$(dirname "$0")/lib/scenario.sh"

site
model=$bed/site/files/firmware-profiles/models/qemu-q35.toml
layout=$bed/site/files/rack-layouts/demo/r1.toml
cp "$model" "$bed/model" && cp "$layout" "$bed/layout"
models() { muster --output json model list; }
before=$(models)
check() { muster check --config "$bed/site/muster.toml"; }
check >/dev/null || fail "the set is not right before anything was changed"

# refused FILE LINE WORD ALLOWED: both doors say where and what.
refused() {
    local said
    if said=$(check 2>&1); then fail "muster check passes a file with $3"; fi
    grep -qE "$1:$2:[0-9]+" <<<"$said" || fail "muster check does not name $1, line $2 and a column: $said"
    grep -qF "$3" <<<"$said" && grep -qF "$4" <<<"$said" || fail "muster check does not name $3 and the word $4: $said"
    if said=$(muster reload 2>&1); then fail "a reload takes a file with $3"; fi
    grep -qE "$1:$2:[0-9]+" <<<"$said" && grep -qF "$4" <<<"$said" || fail "the reload does not say where and what: $said"
    [ "$(models)" = "$before" ] || fail "a reload that was refused has changed the models"
    curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/readyz" >/dev/null || fail "the daemon does not serve after a refused reload"
}

line=$(grep -n '^title' "$model" | cut -d: -f1)
# A right change beside the typo must not come into force with it.
sed -i 's/^title = .*/titel = "another"/' "$model"
sed -i 's/^units = .*/units = 40/' "$layout"
refused "firmware-profiles/models/qemu-q35.toml" "$line" titel title
muster --output json rack list | holds "half of a refused set is in force" '.[0][0].units == 42'
cp "$bed/model" "$model"

line=$(grep -n '^\[limits\]' "$model" | cut -d: -f1)
sed -i 's/^drain-seconds/drain-secnds/' "$model"
refused "firmware-profiles/models/qemu-q35.toml" "$(grep -n '^drain-secnds' "$model" | cut -d: -f1)" drain-secnds drain-seconds
cp "$bed/model" "$model"

sed -i 's/^model = "qemu-q35"/model = "qemu-q36"/' "$layout"
refused "rack-layouts/demo/r1.toml" "$(grep -n 'qemu-q36' "$layout" | cut -d: -f1)" qemu-q36 qemu-q35
cp "$bed/layout" "$layout"

sed -i 's/^title = .*/title = "mended"/' "$model"
check >/dev/null || fail "the mended set is refused"
muster reload >/dev/null || fail "the mended set is not taken"
models | holds "the mended set is in force" 'any(.[0][]; .id == "qemu-q35" and .title == "mended")'
note "three slips named by file, line and column; the old set stayed in force each time"
