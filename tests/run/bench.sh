#!/usr/bin/env bash
# `make bench`: every measurement of tests/bench, ours and the peers in turns, in one table and in
# target/bench/results.json. ONLY="dhcp tftp" runs these alone and leaves the other parts of the list as they were;
# ROUNDS=3 says how often each figure is taken. How it is measured stands in docs/reference/performance.md.
set -euo pipefail
# shellcheck source=tests/run/steps.sh
. "$(dirname "$0")/steps.sh"
parts="dhcp tftp http image bmc"
out=target/bench

for name in ${ONLY:-}; do
    [[ " $parts " == *" $name "* ]] || { echo "there is no measurement $name; there are: $parts" >&2; exit 2; }
done
mkdir -p "$out"
[ -n "${ONLY:-}" ] || rm -f "$out"/*.jsonl
printf '%s, %d processors, load %s, commit %s\n' "$(uname -sr)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)" \
    "$(git rev-parse --short=12 HEAD)$([ -z "$(git status --porcelain)" ] || echo ' with changes')"
for name in ${ONLY:-$parts}; do step "$name" bash "tests/bench/$name.sh"; done

results=()
for name in $parts; do if [ -e "$out/$name.jsonl" ]; then results+=("$out/$name.jsonl"); fi; done
jq -s . "${results[@]}" >"$out/results.json"
echo
( . tests/bench/lib.sh && table "${results[@]}" )
printf '\nthe same as a list: %s/results.json\n' "$out"
report
