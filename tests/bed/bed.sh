#!/bin/bash
# bed.sh: real firmware on a network of its own. A namespace holds a bridge (which speaks LLDP on every port, as a
# switch does), and machines: a real QEMU that only its BMC (OpenIPMI's ipmi_sim) switches on and off.
#
#   bed.sh up DIR                       namespace, bridge 10.77.0.1/24, a way in for API clients
#   bed.sh add DIR NAME [key=value...]  a machine, switched off, with its BMC listening (keys: see defaults below)
#   bed.sh exec DIR COMMAND...          runs COMMAND in the namespace
#   bed.sh list DIR                     machines: name, power, MAC, BMC, serial number, firmware
#   bed.sh power-log DIR NAME           what the BMC was asked and did, with times
#   bed.sh console DIR NAME             follows the serial console's log
#   bed.sh accel DIR                    which QEMU accelerator really boots here
#   bed.sh down DIR                     ends what the bed started; disks and logs stay until the next up
#
# Beds do not see each other: run as many as memory allows, each with its own DIR.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

up() {
    [ "$(id -u)" = 0 ] || die "namespaces and taps need root"
    mkdir -p "$1"
    bed=$(cd "$1" && pwd)
    [ ! -f "$bed/bed.env" ] || die "$bed is a bed already: bed.sh down $bed"
    rm -rf "$bed/machines"
    mkdir -p "$bed"/{pids,machines}
    echo 0 >"$bed/count"
    local ns n accel
    ns=muster-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
    accel=$("$bed_scripts/accel.sh")
    ip netns add "$ns"
    printf 'NS=%s\nBRIDGE=br0\nSERVER=10.77.0.1\nACCEL=%s\n' "$ns" "$accel" >"$bed/bed.env"
    ip -n "$ns" link set lo up
    ip -n "$ns" link add br0 type bridge forward_delay 0 stp_state 0
    ip -n "$ns" addr add 10.77.0.1/24 dev br0
    ip -n "$ns" link set br0 up
    # The way in: the first free link name is this bed's own, and gives its addresses.
    for n in $(seq 0 59); do
        if ip link add "muster-api$n" type veth peer name api0 netns "$ns" 2>/dev/null; then
            ip addr add "169.254.77.$((n * 4 + 1))/30" dev "muster-api$n"
            ip link set "muster-api$n" up
            ip -n "$ns" addr add "169.254.77.$((n * 4 + 2))/30" dev api0
            ip -n "$ns" link set api0 up
            echo "API_SERVER=169.254.77.$((n * 4 + 2))" >>"$bed/bed.env"
            break
        fi
    done
    lldp "$ns"
    say "$bed: namespace $ns, accelerator $accel"
}

# The bridge itself drops LLDP frames, as the standard wants; lldpd sends on each port, named as the port.
lldp() {
    cat >"$bed/lldpd.conf" <<CONF
configure system hostname bed-switch
configure system chassisid bed-switch
configure system description "Bridge of a test bed"
configure lldp portidsubtype ifname
configure lldp tx-interval 1
configure lldp tx-hold 30
CONF
    launch "$bed/pids/lldpd.pid" "$bed/lldpd.log" ip netns exec "$1" lldpd -dd -k -u "$bed/lldpd.sock" -p "$bed/lldpd.run" \
        -O "$bed/lldpd.conf" -C br0 -I 'swp*'
}

add() {
    local name=$2 n pair key
    load_bed "$(cd "$1" && pwd)"
    shift 2
    [[ $name =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "a machine's name is lower-case letters, digits and dashes: $name"
    machine=$bed/machines/$name
    exec 9>"$bed/lock" && flock 9
    mkdir "$machine" 2>/dev/null || die "$name exists in $bed"
    n=$(($(cat "$bed/count") + 1))
    echo $n >"$bed/count"
    declare -A with=(
        # bios | uefi | http (UEFI that boots once from boot_uri) | secure (UEFI with Microsoft's keys enrolled) | aavmf (arm64)
        [firmware]=bios
        [mac]=$(printf '52:54:00:77:01:%02x' "$n")
        [serial]=$(printf 'BED%05d' "$n")
        [uuid]=$(printf '6d757374-6572-4000-8000-0000000000%02x' "$n")
        [manufacturer]=QEMU [product]='Muster bed'
        [memory]=1024 [cpus]=2 [cpu]= [nic]=virtio-net-pci
        [disk]=8G [disk_serial]=$(printf 'DISK%05d' "$n") [disk_image]=  # a raw file to start from
        [decoy]=                              # a second disk of this size, full of foreign data
        [port]=swp$n
        [bmc]=10.77.1.$((10 + n)) [bmc_user]=admin [bmc_password]=secret
        [bmc_more]=                           # a file with more lines for the BMC's emulator: sensors, FRUs
        [boot_uri]=http://10.77.0.1/boot/ipxe.efi
        [pxe]=yes                             # no (UEFI): PXE is off in its setup, and its card has no place in the boot order
        [qemu]=                               # further arguments, split at blanks
    )
    for pair in "$@"; do
        key=${pair%%=*}
        [ -n "${with[$key]+x}" ] || die "no such key: $key (one of: ${!with[*]})"
        with[$key]=${pair#*=}
    done
    { echo "NAME=$name NUMBER=$n"; for key in "${!with[@]}"; do printf '%s=%q\n' "${key^^}" "${with[$key]}"; done; } |
        sort >"$machine/machine.env"
    . "$machine/machine.env"
    disks
    ip -n "$NS" tuntap add dev "$PORT" mode tap
    ip -n "$NS" link set "$PORT" master br0 up
    ip -n "$NS" addr add "$BMC/32" dev lo
    "$bed_scripts/bmc.sh" "$bed" "$name"
    say "$name: $FIRMWARE, $MAC, BMC $BMC, port $PORT"
}

disks() {
    truncate -s "$DISK" "$machine/disk.raw"
    [ -z "$DISK_IMAGE" ] || dd if="$DISK_IMAGE" of="$machine/disk.raw" bs=4M conv=sparse,notrunc status=none
    if [ -n "$DECOY" ]; then
        truncate -s "$DECOY" "$machine/decoy.raw"
        mke2fs -q -t ext4 -L somebody "$machine/decoy.raw"
        sha256sum <"$machine/decoy.raw" | cut -d' ' -f1 >"$machine/decoy.sha256"
    fi
    case $FIRMWARE in
        bios) ;;
        secure) cp /usr/share/OVMF/OVMF_VARS_4M.ms.fd "$machine/vars.fd" ;;
        aavmf) cp /usr/share/AAVMF/AAVMF_VARS.fd "$machine/vars.fd" ;;
        *) cp /usr/share/OVMF/OVMF_VARS_4M.fd "$machine/vars.fd" ;;
    esac
    # Installed now: power-on must not have to wait for it.
    if [ "$FIRMWARE" = http ]; then "$bed_scripts/virt-fw-vars.sh" >/dev/null; fi
}

list() {
    load_bed "$1"
    local dir state
    for dir in "$bed"/machines/*/; do
        [ -d "$dir" ] || continue
        load_machine "$(basename "$dir")"
        state=off
        if alive "$machine/qemu.pid"; then state=on; fi
        printf '%-12s %-4s %s  %s  %s  %s\n' "$NAME" "$state" "$MAC" "$BMC" "$SERIAL" "$FIRMWARE"
    done
}

down() {
    [ -f "$1/bed.env" ] || return 0
    load_bed "$(cd "$1" && pwd)"
    local file
    # BMCs first: one that still listens would switch its machine on again.
    for file in "$bed"/pids/*.pid "$bed"/machines/*/qemu.pid; do
        [ ! -f "$file" ] || end "$file"
    done
    ip netns del "$NS" 2>/dev/null || true
    rm -f "$bed/bed.env" "$bed"/machines/*/qmp.sock "$bed/lldpd.sock"
    say "$bed is down"
}

[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
verb=$1
shift
case $verb in
    up) up "$@" ;;
    add) add "$@" ;;
    exec) load_bed "$1"; shift; exec ip netns exec "$NS" "$@" ;;
    list) list "$@" ;;
    power-log) load_bed "$1"; load_machine "$2"; cat "$machine/power.log" ;;
    console) load_bed "$1"; load_machine "$2"; exec tail -n +1 -F "$machine/serial.log" ;;
    accel) load_bed "$1"; echo "$ACCEL" ;;
    down) down "$@" ;;
    *) die "no such verb: $verb" ;;
esac
