#!/usr/bin/env bash
# What only `make bench` needs from Debian: the peers and their clients. Nothing of it starts; each measurement runs its
# peers itself, with a configuration and a network of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
packages="kea-dhcp4-server kea-admin isc-dhcp-server dnsmasq-base tftpd-hpa nginx-light wrk curl zstd jq iproute2 bsdextrautils gdisk freeipmi-tools ipmitool"
# tftpd-hpa and atftpd refuse to be installed together, so one of them is only unpacked.
atftpd=.build/bench/atftpd

missing=()
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || [ ! -x $atftpd/usr/sbin/atftpd ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "install.sh: as root, run: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
apt-get -qq -o DPkg::Lock::Timeout=300 update
if [ ${#missing[@]} -gt 0 ]; then
    echo "install.sh: installing ${missing[*]}" >&2
    apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >/dev/null
fi
if [ ! -x $atftpd/usr/sbin/atftpd ]; then
    mkdir -p $atftpd
    (cd $atftpd && apt-get -qq -o APT::Sandbox::User=root download atftpd && dpkg-deb -x atftpd_*.deb . && rm atftpd_*.deb)
fi
