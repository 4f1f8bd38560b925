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
cd tests/fuzz
fuzz() { CARGO_TARGET_DIR="$OLDPWD/.build/fuzz/target" cargo +nightly fuzz "$@"; }
fuzz build --sanitizer none
for target in ${FUZZ_TARGETS:-$(cargo +nightly fuzz list)}; do
    corpus=$OLDPWD/.build/fuzz/corpus/$target found=$OLDPWD/.build/fuzz/found/$target
    mkdir -p "$corpus" "$found" "seeds/$target"
    log=$OLDPWD/.build/fuzz/$target.log
    if fuzz run --sanitizer none "$target" "$corpus" "seeds/$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -artifact_prefix="$found/" >"$log" 2>&1; then
        printf '%-16s %s\n' "$target" "$(grep -E '^Done ' "$log" || tail -n 1 "$log")"
    else
        tail -n 40 "$log"
        echo "$target FAILED: the input is in $found"
        exit 1
    fi
done
