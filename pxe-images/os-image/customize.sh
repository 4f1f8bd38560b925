#!/bin/bash
# customize.sh DIR: what packages alone do not give. Runs once on the fresh root tree.
set -euo pipefail
root=$1
in_root() { chroot "$root" "$@"; }

# One image, many machines: identities are made at the first boot.
: >"$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
echo localhost >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"

in_root systemctl enable --quiet systemd-networkd systemd-resolved systemd-timesyncd
in_root systemctl set-default --quiet multi-user.target
# Work that a first boot does not need to wait for, or that belongs to whoever runs the machine.
in_root systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer dpkg-db-backup.timer cloud-init-hotplugd.socket cloud-config.service
in_root passwd --quiet --lock root

mkdir -p "$root/boot/grub" "$root/boot/efi" "$root/etc/muster"
chmod 700 "$root/etc/muster"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt "$root"/var/cache/debconf/*-old
