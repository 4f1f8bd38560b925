#!/bin/bash
# qemu.sh BED NAME net|disk|disc|URI: becomes the QEMU of one machine, booting from the given first. From the network or from the
# disc that its BMC shows (machines/NAME/disc.iso) it starts paused: chassis.sh sets the order that holds from the next reset on, then lets it go.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
load_bed "$1"
load_machine "$2"
net=2 disk=1
start=()
arch=x86_64 board=q35 accel=$ACCEL code=/usr/share/OVMF/OVMF_CODE_4M.fd
ipmi=(-chardev "socket,id=bmc,host=127.0.0.1,port=$KCS_PORT,reconnect=1"
    -device ipmi-bmc-extern,id=bmc0,chardev=bmc -device isa-ipmi-kcs,bmc=bmc0)
case $FIRMWARE in
    secure)
        # Keys can only be guarded from the guest by system management mode.
        code=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd board=q35,smm=on
        start=(-global driver=cfi.pflash01,property=secure,value=on -global ICH9-LPC.disable_s3=1)
        ;;
    aavmf)
        # This QEMU knows no way from its board "virt" to a BMC: the machine cannot ask its own for an address.
        arch=aarch64 board=virt accel=tcg,thread=multi code=/usr/share/AAVMF/AAVMF_CODE.fd
        ipmi=()
        ;;
esac
case $3 in
    net)
        net=1 disk=2
        start+=(-S)
        ;;
    disc)
        net=3 disk=2
        start+=(-S)
        ;;
    http*)
        # UEFI HTTP boot has no place in QEMU's boot order; BootNext in the machine's variables is its own "once".
        "$("$bed_scripts/virt-fw-vars.sh")" -i "$machine/vars.fd" -o "$machine/vars.new" --set-boot-uri "$3"
        mv "$machine/vars.new" "$machine/vars.fd"
        ;;
esac
if [ "$PXE" = no ]; then
    # A card that has a place in the order would be booted by HTTP next, with whatever address DHCP gives.
    net=-1
    start+=(-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n)
fi

args=(
    -name "$NAME" -machine "$board" -accel "$accel" -smp "$CPUS" -m "$MEMORY" -display none -nodefaults "${start[@]}"
    -smbios "type=1,manufacturer=$MANUFACTURER,product=$PRODUCT,serial=$SERIAL,uuid=$UUID"
    -qmp "unix:$machine/qmp.sock,server=on,wait=off"
    -chardev "socket,id=console,host=127.0.0.1,port=$SOL_PORT,server=on,wait=off,telnet=on,logfile=$machine/serial.log,logappend=on"
    -serial chardev:console
    "${ipmi[@]}" -device virtio-rng-pci
    -drive "file=$machine/disk.raw,format=raw,if=none,id=drive0,cache=unsafe,discard=unmap"
    -device "virtio-blk-pci,id=disk0,drive=drive0,serial=$DISK_SERIAL,bootindex=$disk"
    -netdev "tap,id=link0,ifname=$PORT,script=no,downscript=no"
)
case $arch/$accel in
    aarch64/*) args+=(-cpu "${CPU:-cortex-a57}") ;;
    */kvm) args+=(-cpu "${CPU:-host}") ;;
    # What emulation does cheaply: a first boot took a fifth less processor time than with -cpu max (58 s, 73 s; one run each), whose wide
    # vectors, fifth page-table level, nested virtualisation and self-tested ciphers nobody here looks at.
    *) args+=(-cpu "${CPU:-qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+rdrand,-svm}") ;;
esac
if [ -f "$machine/decoy.raw" ]; then
    args+=(-drive "file=$machine/decoy.raw,format=raw,if=none,id=drive1,cache=unsafe"
        -device "virtio-blk-pci,id=disk1,drive=drive1,serial=DECOY-$SERIAL")
fi
if [ "$3" = disc ]; then
    args+=(-drive "file=$machine/disc.iso,format=raw,if=none,id=drive2,media=cdrom,readonly=on"
        -device "ide-cd,id=disc0,drive=drive2,bootindex=1")
fi
if [ "$FIRMWARE" = bios ]; then
    # QEMU gives the card its iPXE option ROM.
    args+=(-device "$NIC,id=net0,netdev=link0,mac=$MAC,bootindex=$net")
else
    # Without a ROM the firmware drives the card itself, as a server's does.
    args+=(-device "$NIC,id=net0,netdev=link0,mac=$MAC,bootindex=$net,romfile="
        -drive if=pflash,format=raw,readonly=on,file="$code"
        -drive "if=pflash,format=raw,file=$machine/vars.fd")
fi
read -ra more <<<"${QEMU:-}"
exec ip netns exec "$NS" "qemu-system-$arch" "${args[@]}" "${more[@]}"
