#!/usr/bin/env bash
# Every fuzz target for FUZZ_SECONDS (20). What is found lies in .build/fuzz/found/TARGET, the corpus that grew in
# .build/fuzz/corpus/TARGET. FUZZ_TARGETS names a few targets; FUZZ_STRICT=1 makes a missing nightly toolchain a failure.
set -euo pipefail
# shellcheck source=tests/run/steps.sh
. "$(dirname "$0")/steps.sh"
seconds=${FUZZ_SECONDS:-20}

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "NOT FUZZED: the fuzzer needs a nightly toolchain (rustup toolchain install nightly --profile minimal)"
    [ "${FUZZ_STRICT:-0}" = 0 ] || exit 1
    exit 0
fi
tool cargo-fuzz 0.13.2

# Without a sanitizer: the targets are parsers without unsafe code, and every target runs twice as fast.
top=$PWD
cd tests/fuzz
fuzz() { CARGO_TARGET_DIR="$top/.build/fuzz/target" cargo +nightly fuzz "$@"; }
fuzz build --sanitizer none
# One target a core.
one() {
    local target=$1 corpus=$top/.build/fuzz/corpus/$1 found=$top/.build/fuzz/found/$1 log=$top/.build/fuzz/$1.log
    mkdir -p "$corpus" "$found" "seeds/$target"
    if fuzz run --sanitizer none "$target" "$corpus" "seeds/$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -artifact_prefix="$found/" >"$log" 2>&1; then
        printf '%-16s %s\n' "$target" "$(grep -E '^Done ' "$log" || tail -n 1 "$log")"
    else
        tail -n 40 "$log"
        echo "$target FAILED: the input is in $found"
        # xargs begins no further target.
        exit 255
    fi
}
export -f fuzz one
export top seconds
# shellcheck disable=SC2086
printf '%s\n' ${FUZZ_TARGETS:-$(cargo +nightly fuzz list)} | xargs -P "$(nproc)" -I TARGET bash -c 'one TARGET'
