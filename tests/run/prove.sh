#!/usr/bin/env bash
# `make prove`: every scenario of tests/prove, one after the other, results bound to the commit they were seen with.
#
#   .build/prove/COMMIT/NAME.ok    seen working (holds the seconds it took)
#   .build/prove/COMMIT/NAME.log   what it said
#
# A run that was broken off goes on where it stopped: what is ok is not run again. ONLY="a b" runs these alone. A scenario
# that skips itself (exit 77) is red: a proof that was not made is no proof. A tree with changes has no commit to bind to
# and is refused; ALLOW_DIRTY=1 runs it under a name made from the changes, and the summary says so. PATIENCE=N gives
# everything N times as long, on a machine that has other work.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
scenarios=${PROVE_SCENARIOS:-tests/prove}
# Seconds until a scenario is taken for hanging; one that needs longer says `# limit: SECONDS`.
limit_of() {
    local own
    own=$(sed -n 's/^# limit: //p' "$scenarios/$1.sh")
    echo "${PROVE_LIMIT:-$((${own:-2400} * ${PATIENCE:-1}))}"
}

commit=$(git rev-parse --short=12 HEAD) || exit 1
dirty=$(git status --porcelain)
if [ -n "$dirty" ]; then
    if [ "${ALLOW_DIRTY:-0}" = 0 ]; then
        printf 'The tree has changes, so nothing proved here could be bound to a commit:\n%s\n' "$dirty" >&2
        echo "Commit them, or run with ALLOW_DIRTY=1 (the results are then marked)." >&2
        exit 2
    fi
    changes=$({ git diff HEAD; git ls-files -z --others --exclude-standard | xargs -0 -r sha256sum; } | sha256sum | cut -c1-8)
    commit="$commit-dirty-$changes"
fi
results=${PROVE_RESULTS:-.build/prove}/$commit
mkdir -p "$results"

names=()
for file in "$scenarios"/*.sh; do
    [ -e "$file" ] && names+=("$(basename "$file" .sh)")
done
if [ ${#names[@]} -eq 0 ]; then
    echo "there are no scenarios in $scenarios: nothing is proved" >&2
    exit 1
fi
for name in ${ONLY:-}; do
    [ -e "$scenarios/$name.sh" ] || { echo "there is no scenario $name; there are: ${names[*]}" >&2; exit 2; }
done

# Ctrl-C ends the scenario that runs (it has its own process group) and leaves what was proved.
running=""
trap '[ -z "$running" ] || kill -TERM -- "-$running" 2>/dev/null; echo; echo "broken off; run it again to go on"; exit 130' INT TERM

prove() {
    local name=$1 begun status limit
    limit=$(limit_of "$name")
    begun=$(date +%s)
    printf '== %s ... ' "$name"
    rm -f "$results/$name".{ok,red,skipped}
    setsid timeout --kill-after=30 "$limit" bash "$scenarios/$name.sh" >"$results/$name.log" 2>&1 &
    running=$!
    wait "$running"
    status=$?
    running=""
    local took=$(($(date +%s) - begun))
    case $status in
    0) echo "$took" >"$results/$name.ok" && echo "ok, $took s" ;;
    77) echo "$took" >"$results/$name.skipped" && echo "SKIPPED ITSELF, which is red here: $(tail -n 1 "$results/$name.log")" ;;
    *)
        echo "$status" >"$results/$name.red"
        [ "$status" -eq 124 ] && echo "no end after $limit s" >>"$results/$name.log"
        echo "RED (exit $status) after $took s; the last lines of $results/$name.log:"
        tail -n 20 "$results/$name.log" | sed 's/^/     /'
        ;;
    esac
}

for name in "${names[@]}"; do
    if [ -n "${ONLY:-}" ] && [[ " $ONLY " != *" $name "* ]]; then continue; fi
    if [ -e "$results/$name.ok" ]; then
        echo "== $name: seen working with this commit before ($(cat "$results/$name.ok") s)"
    else
        prove "$name"
    fi
done

printf '\nSummary for %s%s\n' "$commit" "${dirty:+ (A TREE WITH CHANGES: no proof of any commit)}"
red=0
for name in "${names[@]}"; do
    if [ -e "$results/$name.ok" ]; then word="ok, $(cat "$results/$name.ok") s"
    elif [ -e "$results/$name.skipped" ]; then word="RED: skipped itself" red=$((red + 1))
    elif [ -e "$results/$name.red" ]; then word="RED" red=$((red + 1))
    else word="RED: not run" red=$((red + 1)); fi
    printf '  %-32s %s\n' "$name" "$word"
done
printf '%d of %d scenarios proved\n' $((${#names[@]} - red)) ${#names[@]}
[ "$red" -eq 0 ]
