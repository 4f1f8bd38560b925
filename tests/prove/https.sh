#!/usr/bin/env bash
# UEFI HTTP boot under TLS, with OVMF as Debian ships it. Firmware that was given the authority fetches its loader by
# HTTPS and the machine goes on to ready; the same firmware without it, or with another one, is sent nothing.
. "$(dirname "$0")/lib/scenario.sh"

uri=https://10.77.0.1:8081/boot/ipxe.efi

# authority NAME: an authority of that name, in PEM and as firmware takes it.
authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$1" -keyout "$bed/tls/$1.key" \
        -out "$bed/tls/$1.pem" 2>>"$bed/tls/log"
    "$(dirname "$(tests/bed/virt-fw-vars.sh)")/virt-fw-sigdb" -o "$bed/tls/$1.esl" \
        --add-cert "$(cat /proc/sys/kernel/random/uuid)" "$bed/tls/$1.pem" >>"$bed/tls/log"
}

# RSA and by hand: this OVMF has no elliptic curves, and of those is what the daemon makes itself.
prepare() {
    mkdir -p "$bed/tls"
    authority ours
    authority other
    openssl req -newkey rsa:2048 -nodes -subj /CN=10.77.0.1 -keyout "$1/site/boot.key" -out "$bed/tls/boot.csr" \
        2>>"$bed/tls/log"
    openssl x509 -req -in "$bed/tls/boot.csr" -CA "$bed/tls/ours.pem" -CAkey "$bed/tls/ours.key" -CAcreateserial -days 30 \
        -extfile <(echo subjectAltName=IP:10.77.0.1) -out "$1/site/boot.pem" 2>>"$bed/tls/log"
    sed -i -e '/^\[boot\]/a https-port = 8081\nhttps-cert = "boot.pem"\nhttps-key = "boot.key"' \
        -e '/^dedicated/a dhcp.https-boot = true' "$1/site/muster.toml"
}
mac_of() { (. "$bed/machines/$1/machine.env" && echo "$MAC"); }
trusting() { echo "qemu=-fw_cfg name=etc/edk2/https/cacerts,file=$bed/tls/$1.esl"; }
# fetched HOW FILE: how often that was sent whole.
fetched() { grep -acE "sent .*via=$1 .*path=\"?/$2\"? .*how=\"?whole" "$bed/muster.log" || true; }

site
machine "$bed" node1 firmware=http "boot_uri=$uri" "$(trusting ours)"
discovered node1 600
[ "$(fetched Https boot/ipxe.efi)" = 1 ] || fail "the loader did not go out by HTTPS"
[ "$(fetched Http boot/ipxe.efi)" = 0 ] || fail "the loader went out in the clear"
[ "$(fetched Http boot/vmlinuz)" = 1 ] || fail "the kernel did not go out by HTTP"
muster --output json boot explain node1 --boots 10 | holds "one boot, whose firmware was sent to HTTPS" \
    '.[0] | (.boots | map(.diagnosis.label) == ["agent-spoke"]) and ([.. | strings | select(test($uri))] | length > 0)' \
    --arg uri "$uri"
note "UEFI HTTP boot under TLS, and on to ready"

# refused NAME [key=value]: a machine of nobody's whose firmware tries, says so on its screen, and is switched off before
# it goes on to PXE.
refused() {
    machine "$bed" "$1" firmware=http serial=NOBODYS manufacturer=Unheard product=Of "boot_uri=$uri" "${@:2}"
    bmc "$1" chassis bootdev pxe
    bmc "$1" chassis power on
    for _ in $(seq 240); do
        if grep -asq "Error: Could not retrieve NBP file size" "$bed/machines/$1/serial.log"; then break; fi
        sleep 0.5
    done
    bmc "$1" chassis power off
    grep -aq "Error: Could not retrieve NBP file size" "$bed/machines/$1/serial.log" || fail "$1 did not say that it failed"
    ! grep -aq "iPXE initialising" "$bed/machines/$1/serial.log" || fail "$1 started a loader"
    [ "$(fetched Https boot/ipxe.efi)" = 1 ] || fail "a loader was sent to $1"
    note "$1 refused: $(grep -ao 'Error: .*[a-z]\.' "$bed/machines/$1/serial.log" | tail -n 1)"
}
refused without
refused astray "$(trusting other)"
muster --output json boot explain "$(mac_of astray)" | holds "it is told that no TLS came of it" \
    '.[0].boots[0].diagnosis.label == "no-tls"'
curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics" >"$bed/metrics"
grep -qE 'service="http",what="(bad_handshake|untrusted)",reason=""\} [1-9]' "$bed/metrics" || fail "no failed handshake was counted"
whole
