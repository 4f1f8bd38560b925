#!/usr/bin/env bash
# Builds what a boot needs, each part only when its sources changed: the static agent, the daemon, the boot image, the
# OS image. Prints the seconds of each. Sourced: sets AGENT, MUSTER, BOOT_IMAGE and IMAGES.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${MUSTER_BUILD:-$repo/.build}
BOOT_IMAGE=$build/boot-image
IMAGES=$build/images
target=x86_64-unknown-linux-gnu
AGENT=${CARGO_TARGET_DIR:-$repo/target}/$target/agent/muster-agent
# The tests and the demo share one profile, so that a fresh machine compiles the daemon once.
MUSTER=${CARGO_TARGET_DIR:-$repo/target}/debug/muster
export MUSTER_CACHE=${MUSTER_CACHE:-$build/cache}

timed() {
    local name=$1 begun status=0
    shift
    begun=$(date +%s)
    "$@" >"$build/$name.log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 30 "$build/$name.log" >&2
        echo "$name failed; the whole log is in $build/$name.log" >&2
        exit "$status"
    fi
    printf '%6d s  %s\n' $(($(date +%s) - begun)) "$name"
}

agent() {
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile agent -p muster-agent --target "$target"
}

mkdir -p "$build"
timed "packages" "$repo/tests/bed/install.sh"
timed "agent" agent
timed "daemon" cargo build --locked -p muster-daemon
timed "boot-image" "$repo/pxe-images/boot-image/build.sh" "$BOOT_IMAGE" "$AGENT"
if [ -n "${DEMO_IMAGE:-}" ]; then
    timed "own-image" "$repo/pxe-images/os-image/import.sh" "$DEMO_IMAGE" "$IMAGES/own"
else
    timed "os-image" "$repo/pxe-images/os-image/build.sh" "$IMAGES/debian-12" "$AGENT"
fi
