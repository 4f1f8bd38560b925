#!/bin/bash
# accel.sh: prints the QEMU accelerator that works here. A /dev/kvm proves nothing (nested virtualisation may run
# firmware but no kernel), so this boots OVMF and Debian's kernel on it, once per boot of this machine.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
tcg=tcg,thread=multi
mkdir -p "$bed_cache"
known=$bed_cache/accel-$(cat /proc/sys/kernel/random/boot_id)
if [ ! -s "$known" ]; then
    accel=$tcg
    kernel=$(ls -t "$bed_cache"/unpacked/linux-image-*/boot/vmlinuz-* 2>/dev/null | head -1)
    if [ -n "$kernel" ] && [ -w /dev/kvm ]; then
        say "does KVM boot a kernel here? (at most 40 s)"
        log=$(mktemp)
        timeout 40 qemu-system-x86_64 -machine q35 -accel kvm -cpu host -m 512 -display none -nodefaults -no-reboot -serial stdio \
            -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
            -kernel "$kernel" -append "console=ttyS0 panic=-1" </dev/null >"$log" 2>&1 || true
        # Without a root file system a healthy kernel gets as far as saying so.
        if grep -aq 'Unable to mount root fs' "$log"; then accel=kvm; fi
        rm -f "$log"
    fi
    if [ -z "$kernel" ] && [ -w /dev/kvm ]; then
        # Not known yet: the boot image's recipe brings the kernel.
        echo $tcg
        exit 0
    fi
    echo $accel >"$known"
fi
cat "$known"
