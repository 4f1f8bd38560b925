#!/bin/bash
# virt-fw-vars.sh: prints the path of the program that edits UEFI variable files; Debian 12 has no package of it.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
venv=$bed_cache/venv
mkdir -p "$bed_cache"
exec 8>"$bed_cache/venv.lock"
flock 8
if [ ! -x "$venv/bin/virt-fw-vars" ]; then
    /usr/bin/python3 -m venv "$venv" >&2
    "$venv/bin/pip" -q install virt-firmware >&2
fi
echo "$venv/bin/virt-fw-vars"
