#!/usr/bin/env bash
# The bad cable of lossy.sh under OVMF: its loader comes over TFTP.
# shellcheck disable=SC2034 # lossy.sh reads it
firmware=uefi
. "$(dirname "$0")/lossy.sh"
