#!/bin/bash
# install.sh: Debian packages that the recipes, the bed and the tests use; installs only what is absent.
# Never asks for qemu-utils: on some machines it conflicts with what is installed, and nothing here needs it.
set -euo pipefail
# The cross compiler is for the arm64 agent; its own C library is linked in.
packages="
gcc-aarch64-linux-gnu libc6-dev-arm64-cross
apt-utils mmdebstrap debian-archive-keyring zstd cpio kmod jq python3 python3-venv binutils
gdisk dosfstools mtools e2fsprogs grub-pc-bin grub-efi-amd64-bin grub-efi-amd64-signed shim-signed ipxe
qemu-system-x86 ipxe-qemu ovmf qemu-system-arm qemu-efi-aarch64 openipmi ipmitool freeipmi-tools lldpd iproute2 socat dnsmasq-base tcpdump
curl openssl busybox-static isc-dhcp-client isc-dhcp-relay isc-dhcp-server kea-dhcp4-server dhcpcd-base tftp-hpa atftp nftables
postgresql"
missing=()
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "install.sh: as root, run: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Daemons that come with these packages must not start here: the bed runs its own, in its own namespace.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
echo "install.sh: installing ${missing[*]}" >&2
apt-get -qq update
apt-get -qq -y install --no-install-recommends "${missing[@]}" >/dev/null
