#!/usr/bin/env bash
# `make bench`: every measurement of tests/bench, one after the other; each prints its own figures with what they were
# measured on. ONLY="a b" runs these alone.
set -euo pipefail
# shellcheck source=tests/run/steps.sh
. "$(dirname "$0")/steps.sh"

ran=0
for file in tests/bench/*.sh; do
    name=$(basename "$file" .sh)
    if [ ! -e "$file" ] || { [ -n "${ONLY:-}" ] && [[ " $ONLY " != *" $name "* ]]; }; then continue; fi
    step "$name" bash "$file"
    ran=$((ran + 1))
done
if [ "$ran" -eq 0 ]; then
    echo "nothing was measured: tests/bench holds ${ONLY:+no $ONLY}${ONLY:-no measurement}" >&2
    exit 1
fi
report
