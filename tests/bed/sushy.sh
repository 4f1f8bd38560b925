#!/bin/bash
# sushy.sh: prints the path of sushy-tools' Redfish emulator; Debian 12 has no package of it.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
venv=$bed_cache/sushy-tools
mkdir -p "$bed_cache"
exec 8>"$bed_cache/sushy-tools.lock"
flock 8
# One that came here from elsewhere is there, and does not run.
if ! "$venv/bin/sushy-emulator" --help >/dev/null 2>&1; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv" >&2
    "$venv/bin/pip" -q install sushy-tools==2.2.0 >&2
fi
echo "$venv/bin/sushy-emulator"
