# What every scenario stands on: a bed and a site of its own, questions to the API, and an end that leaves nothing behind.
# Sourced by tests/prove/NAME.sh. A scenario is red at the first thing that is not as promised; its bed then stays in
# .build/proof-NAME (logs, disks, database), a green one's is removed.
#
# The daemon under test is a copy, so that a build beside a long scenario does not change it half-way.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
scenario=$(basename "$0" .sh)
. tests/run/artifacts.sh
bed=$build/proof-$scenario
. tests/run/site.sh
scenario_begun=$(date +%s)

note() { printf '%6d s  %s\n' $(($(date +%s) - scenario_begun)) "$*"; }
fail() {
    note "NOT AS PROMISED: $*" >&2
    exit 1
}

finish() {
    local status=$? left
    trap - EXIT INT TERM
    set +e
    if [ "$status" -ne 0 ] && [ -f "$bed/bed.env" ]; then
        muster machine list
        muster tickets
        tail -n 15 "$bed/muster.log"
    fi
    # What a scenario made besides: its function `leave`.
    if declare -F leave >/dev/null; then leave; fi
    site_down "$bed"
    left=$(pgrep -af -- "$bed/")
    if [ -n "$left" ]; then
        printf 'left running:\n%s\n' "$left" >&2
        [ "$status" -ne 0 ] || status=1
    fi
    if [ "$status" -eq 0 ]; then rm -rf "$bed"; fi
    exit "$status"
}

# site: the bed and the daemon. A function `prepare DIR` of the scenario changes the site's files before the first start.
site() {
    site_down "$bed"
    rm -rf "$bed"
    mkdir -p "$bed"
    trap finish EXIT
    trap 'exit 130' INT TERM
    cp "$MUSTER" "$bed/muster-under-test"
    MUSTER=$bed/muster-under-test
    site_up "$bed"
}

show() { muster machine show "$1" --output json; }
state() { show "$1" 2>/dev/null | jq -r .summary.state; }
# events MACHINE: its log, one JSON object a line.
events() { muster --output json machine events "$1"; }
# heard_of MACHINE|MAC: every entry of its last boots, oldest first, as one list.
heard_of() { muster --output json boot explain "$1" --boots 10 | jq '[.boots[].entries[]] | sort_by(.at)'; }
tickets() { muster --output json tickets; }

# holds WORDS FILTER [jq options]: the JSON on standard input is as the filter says.
holds() {
    local words=$1 filter=$2 json
    shift 2
    json=$(cat)
    jq -se "$@" "$filter" >/dev/null <<<"$json" || fail "$words; found: $(head -c 2000 <<<"$json")"
}

# becomes MACHINE STATE SECONDS: a machine that waits for a person on the way there ends the wait.
becomes() {
    local until=$(($(date +%s) + $3 * patience)) now=""
    while [ "$(date +%s)" -lt "$until" ]; do
        now=$(state "$1") || now=""
        [ "$now" != "$2" ] || { note "$1 is $2"; return 0; }
        [[ ! $now =~ ^(held|unidentified)$ ]] || fail "$1 is $now: $(tickets | jq -c .) $(show "$1" | jq -c .differences)"
        sleep 1
    done
    fail "$1 is not $2 after $3 s but ${now:-silent}"
}

discovered() {
    muster machine discover "$1" --yes >/dev/null
    becomes "$1" ready "${2:-300}"
}

# ordered MACHINE [options]: an install order.
ordered() {
    local name=$1
    shift
    muster install debian-12 "$name" --yes --user 'ops!' "$@" >/dev/null
}

# served MACHINE: in service, by the word of the system on its own disk.
served() {
    becomes "$1" in-service "${2:-600}"
    show "$1" | holds "$1 reported from its own disk and passed its check" \
        '.[0] | .agent.mode == "resident" and (.quality | length) == 0 and .order == null'
}

# bmc MACHINE COMMAND...: a person's hand on the machine's BMC.
bmc() {
    (
        load_bed "$bed"
        load_machine "$1"
        shift
        ip netns exec "$NS" ipmitool -I lanplus -C 3 -H "$BMC" -U "$BMC_USER" -P "$BMC_PASSWORD" "$@" >/dev/null
    )
}

# switched MACHINE WORD: how often the chassis did it (`started`, `stopped`, `reset`), whoever asked.
switched() { grep -cE "^[0-9.]+ $2( |\$)" "$bed/machines/$1/power.log" || true; }
# asked_of MACHINE: how often the chassis was told anything at all.
asked_of() { grep -cE '^[0-9.]+ set ' "$bed/machines/$1/power.log" || true; }

digest() { sha256sum <"$1" | cut -d' ' -f1; }
# empty FILE BYTES: the file begins with so many zeros.
empty() { cmp -s -n "$2" "$1" /dev/zero; }

# whole: the log's chain holds and no number is missing.
whole() {
    muster --output json log verify | holds "the log is whole" '.[0].whole == true and .[0].broken == null'
    curl -sf --cacert "$MUSTER_CA" -H "Authorization: Bearer $(cat "$MUSTER_TOKEN_FILE")" \
        "$MUSTER_SERVER/api/v1/log?after=0&limit=1000" |
        holds "the log has no gap" '.[0] | [.[].seq] as $seq | $seq == [range(1; ($seq | length) + 1)]'
}
