#!/bin/bash
# chassis.sh BED NAME get|set ITEM [VALUE] ...: what ipmi_sim asks of the chassis; the hand on the power switch.
#
# "Boot once" is a swap: QEMU starts with the network (or the disc that a BMC shows) first, and the order that holds from the
# next reset on, the disk first, is set at once. Firmware has then read the first order, and a guest that reboots comes up from its disk.
# A boot device may also be an address: UEFI HTTP boot of it, which firmware forgets itself once it has begun (see qemu.sh).
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
load_bed "$1"
load_machine "$2"
verb=$3
shift 3
exec 9>"$machine/chassis.lock"
flock 9
log() { printf '%s %s\n' "$(date +%s.%3N)" "$*" >>"$machine/power.log"; }
boot() { cat "$machine/boot" 2>/dev/null || echo default; }
on() { alive "$machine/qemu.pid"; }

# order NET DISK: boot order from the next reset of the guest on.
order() {
    # Two devices may not share a place, not even for a moment.
    qmp '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/net0","property":"bootindex","value":-1}}' \
        '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/disk0","property":"bootindex","value":'"$2"'}}' \
        '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/net0","property":"bootindex","value":'"$1"'}}'
}

start() {
    local first=disk
    on && return
    case $(boot) in
        pxe)
            first=net
            [ "$FIRMWARE" != http ] || first=$BOOT_URI
            # Firmware whose PXE is off has nothing to boot by it, and goes on with its own order.
            [ "$PXE" = yes ] || first=disk
            ;;
        http*) first=$(boot) ;;
        cdrom) [ ! -f "$machine/disc.iso" ] || first=disc ;;
    esac
    echo default >"$machine/boot"
    rm -f "$machine/qmp.sock"
    launch "$machine/qemu.pid" "$machine/qemu.log" "$bed_scripts/qemu.sh" "$bed" "$NAME" "$first"
    # Only a machine that waits for its second order is paused; the others run already. See qemu.sh.
    if [ "$first" = net ]; then
        order 2 1
        qmp '{"execute":"cont"}'
    elif [ "$first" = disc ]; then
        qmp '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/disc0","property":"bootindex","value":9}}' \
            '{"execute":"cont"}'
    fi
    log "started from $first"
}

stop() { end "$machine/qemu.pid"; log stopped; }

reset() {
    on || return 0
    if [[ ! $(boot) =~ ^(pxe|cdrom|http.*)$ ]]; then
        qmp '{"execute":"system_reset"}'
        log "reset"
    else
        stop
        start
    fi
}

log "$verb $*"
if [ "$verb" = get ]; then
    for item in "$@"; do
        case $item in
            power) if on; then echo power:1; else echo power:0; fi ;;
            boot) echo "boot:$(boot)" ;;
            *) echo "$item:0" ;;
        esac
    done
    exit 0
fi
while [ $# -ge 2 ]; do
    case $1 in
        power) if [ "$2" = 1 ]; then start; else stop; fi ;;
        reset) if [ "$2" = 1 ]; then reset; fi ;;
        shutdown) if on; then qmp '{"execute":"system_powerdown"}'; fi ;;
        boot) echo "$2" >"$machine/boot" ;;
    esac
    shift 2
done
