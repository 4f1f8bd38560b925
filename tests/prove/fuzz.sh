#!/usr/bin/env bash
# limit: 7200
# The long fuzz: every target for ten minutes (PROVE_FUZZ_SECONDS), and no excuse for a missing toolchain.
set -euo pipefail
FUZZ_STRICT=1 FUZZ_SECONDS=${PROVE_FUZZ_SECONDS:-600} exec "$(dirname "$0")/../run/fuzz.sh"
