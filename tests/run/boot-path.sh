#!/usr/bin/env bash
# boot-path.sh [bios|uefi|http]: one machine from power-on to in service, without a word but the times. Green only when
# the machine itself reported from its own disk. `make test` runs it for UEFI, `make prove` for each firmware.
set -euo pipefail
cd "$(dirname "$0")/../.."
firmware=${1:-uefi}
. tests/run/artifacts.sh
bed=$build/boot-path-$firmware
. tests/run/site.sh

finish() {
    local status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 25 "$bed/timeline.log" "$bed/muster.log" >&2 || true
        echo "$firmware did not get there; timeline.log, muster.log and machines/node1/serial.log are in $bed" >&2
    fi
    site_down "$bed"
    exit "$status"
}
site_down "$bed"
rm -rf "$bed"
mkdir -p "$bed"
trap finish EXIT
trap 'exit 130' INT TERM

site_up "$bed"
machine "$bed" node1 "firmware=$firmware"
begun=$(date +%s)
{
    muster machine discover node1 --yes
    muster watch node1 --until ready --timeout $((420 * patience))
    muster install debian-12 node1 --yes --user 'ops!'
    muster watch node1 --until in-service --timeout $((900 * patience))
} >"$bed/timeline.log" 2>&1
muster machine show node1 --output json >"$bed/node1.json"
jq -e '.summary.state == "in-service" and .agent.mode == "resident" and (.quality | length) == 0' "$bed/node1.json" >/dev/null
grep '^node1: ' "$bed/timeline.log"
printf '%6d s  %s from first power-on to in service, accelerator %s\n' $(($(date +%s) - begun)) "$firmware" "$ACCEL"
