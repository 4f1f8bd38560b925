#!/usr/bin/env bash
# `make test`: the product proved on this machine in at most 25 minutes, one full boot path included.
set -euo pipefail
# shellcheck source=tests/run/steps.sh
. "$(dirname "$0")/steps.sh"

if [ -z "${MUSTER_CAPTURES:-}" ]; then
    echo "MUSTER_CAPTURES names no folder: tests over recordings of real devices say that they are skipped"
    # make hands an unset variable on as an empty one.
    unset MUSTER_CAPTURES
fi

# One machine from power-on to in service. There is no green run without it.
boot_path() {
    if [ ! -x tests/run/boot-path.sh ]; then
        echo "no full boot path was run: tests/run/boot-path.sh is not there" >&2
        return 1
    fi
    tests/run/boot-path.sh
}

# What a test that was ended in the middle leaves behind goes with the run.
scratch=$(mktemp -d)
# Servers that a test starts under a user of their own reach their folders through it.
chmod 755 "$scratch"
trap 'rm -rf "$scratch"' EXIT

step "what the tests need from Debian" tests/bed/install.sh
step "test runner" tool cargo-nextest 0.9.143
step "build" cargo nextest run --workspace --locked --no-run
step "tests" env TMPDIR="$scratch" cargo nextest run --workspace --locked
step "short fuzz" env FUZZ_SECONDS="${FUZZ_SECONDS:-10}" tests/run/fuzz.sh
step "one full boot path" boot_path
report
