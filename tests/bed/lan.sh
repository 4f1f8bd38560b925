#!/bin/bash
# lan.sh BED NAME get|set|check ITEM [VALUE] ...: what ipmi_sim asks of the BMC's own network port. Its address is fixed.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
load_bed "$1"
load_machine "$2"
verb=$3
shift 3
[ "$verb" = get ] || exit 0
for item in "$@"; do
    case $item in
        ip_addr) echo "ip_addr:$BMC" ;;
        ip_addr_src) echo "ip_addr_src:static" ;;
        mac_addr) echo "mac_addr:02:$(printf '%s' "$MAC" | cut -d: -f2-)" ;;
        subnet_mask) echo "subnet_mask:255.255.255.0" ;;
        *) echo "$item:0" ;;
    esac
done
