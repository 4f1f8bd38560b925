#!/usr/bin/env bash
# `make demo`: one machine from power-on to in service. Real firmware in QEMU, switched by a BMC, on a network of its
# own; after the two orders below this script only watches.
#
#   DEMO_FIRMWARE=bios|uefi|http    the boot path (uefi)
#   DEMO_IMAGE=FILE                 installs this disk image in place of Debian: with cloud-init, raw or packed by zstd
#   KEEP=1                          leaves everything running
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/run/artifacts.sh

firmware=${DEMO_FIRMWARE:-uefi}
image=debian-12
[ -z "${DEMO_IMAGE:-}" ] || image=own
bed=${DEMO_BED:-$build/demo-$firmware}
. tests/run/site.sh
# The image of your own becomes one of this site's, not one of the repository's.
prepare() {
    if [ "$image" = own ]; then cp "$IMAGES/own/os.toml" "$1/site/files/pxe-images/os/own.toml"; fi
}

finish() {
    local status=$?
    if [ -n "${KEEP:-}" ]; then
        echo "everything keeps running; end it with: tests/run/site.sh down $bed"
    else
        site_down "$bed"
    fi
    exit "$status"
}
site_down "$bed"
rm -rf "$bed"
trap finish EXIT
trap 'exit 130' INT TERM

site_up "$bed"
machine "$bed" node1 "firmware=$firmware"
echo
echo "$firmware, accelerator $(tests/bed/bed.sh accel "$bed"); the machine is off. API: $MUSTER_SERVER"
begun=$(date +%s)
muster machine discover node1 --yes
muster watch node1 --until ready --timeout "${DEMO_TIMEOUT:-$((900 * patience))}"
muster install "$image" node1 --yes --user ops! --watch
seconds=$(($(date +%s) - begun))

# The machine itself must have said so, from its own disk.
muster machine show node1 --output json >"$bed/node1.json"
jq -e '.summary.state == "in-service" and .agent.mode == "resident" and (.quality | length) == 0' "$bed/node1.json" >/dev/null
echo
echo "node1 is in service: $firmware, $seconds s from first power-on to in service. API: $MUSTER_SERVER, token: $bed/site/data/admin.token"
