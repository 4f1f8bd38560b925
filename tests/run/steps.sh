# Steps with names, times and one verdict. Sourced by the scripts that `make` calls, never run by itself.
#   step "what it does" command arguments...   stops the script at the first step that fails
#   report                                     prints what ran and how long each step took
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
PATH="$PWD/.build/tools/bin:$PATH"
export PATH

steps_begun=$(date +%s)
steps_report=""

report() {
    local total=$(($(date +%s) - steps_begun))
    printf '\n%s' "$steps_report"
    printf '%6d s  in all\n' "$total"
}

step() {
    local name=$1 begun status
    shift
    printf '\n== %s\n' "$name"
    begun=$(date +%s)
    # In a subshell, outside of any condition: within one, bash would let a function run on after its first failure.
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        steps_report+=$(printf '%6d s  %s' $(($(date +%s) - begun)) "$name")$'\n'
    else
        steps_report+=$(printf '%6d s  %s: FAILED (exit %d)' $(($(date +%s) - begun)) "$name" "$status")$'\n'
        report
        exit "$status"
    fi
}

# A cargo tool of ours, built once into .build/tools where the machine has none: tool NAME VERSION. It is built for a
# short wait rather than for speed: what it drives takes far longer than it does.
tool() {
    if "$1" --version >/dev/null 2>&1 || "$1" "${1#cargo-}" --version >/dev/null 2>&1; then
        return 0
    fi
    printf '%s is not here: building %s (a few minutes, once)\n' "$1" "$2"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_TARGET_DIR="$PWD/.build/tools/target" cargo install --locked --quiet --root "$PWD/.build/tools" --version "$2" "$1"
}
