#!/usr/bin/env bash
# The long fuzz: every target for five minutes (PROVE_FUZZ_SECONDS), and no excuse for a missing toolchain.
set -euo pipefail
FUZZ_STRICT=1 FUZZ_SECONDS=${PROVE_FUZZ_SECONDS:-300} exec "$(dirname "$0")/../run/fuzz.sh"
