#!/usr/bin/env bash
# A site for one bed: `muster serve` in the bed's namespace, with the demo's rack layout. Sourced by demo.sh and by the
# scenarios; called by hand it ends a site: tests/run/site.sh down DIR.
set -euo pipefail
site_repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bed_sh=$site_repo/tests/bed/bed.sh
. "$site_repo/tests/bed/lib.sh"

# On a machine that is busy with other things too, PATIENCE=N makes every time that something may take N times as long: the
# model's own, and those of whoever waits. It changes nothing of what is proved.
patience=${PATIENCE:-1}
unhurried() {
    awk -v n="$patience" '/^[a-z-]+-seconds = [0-9]+$/ { $3 *= n } { print }' "$1" >"$1.new"
    mv "$1.new" "$1"
}

# muster ARGUMENTS...: the client verbs, against this site.
muster() { "$MUSTER" "$@"; }

# serve DIR: starts the daemon and waits until it is ready.
serve() {
    local dir=$1 i
    launch "$dir/pids/muster.pid" "$dir/muster.log" ip netns exec "$NS" "$MUSTER" serve --config "$dir/site/muster.toml"
    for i in $(seq $((150 * patience))); do
        if curl -sf --cacert "$dir/site/data/ca.pem" "$MUSTER_SERVER/readyz" >/dev/null 2>&1; then return 0; fi
        alive "$dir/pids/muster.pid" || break
        sleep 0.2
    done
    tail -n 20 "$dir/muster.log" >&2
    echo "muster serve did not become ready; its log is $dir/muster.log" >&2
    return 1
}

# site_up DIR: bed, configuration, daemon. Sets NS, MUSTER_SERVER, MUSTER_TOKEN_FILE and MUSTER_CA. Where the caller has
# a function `prepare DIR`, it changes the site's files before the first start.
site_up() {
    local dir=$1
    "$bed_sh" up "$dir"
    dir=$(cd "$dir" && pwd)
    load_bed "$dir"
    mkdir -p "$dir/site/secrets" "$dir/site/files"
    cp -r "$site_repo/firmware-profiles" "$site_repo/rack-layouts" "$dir/site/files/"
    mkdir -p "$dir/site/files/pxe-images"
    cp -r "$site_repo"/pxe-images/{loaders,clients,os} "$dir/site/files/pxe-images/"
    unhurried "$dir/site/files/firmware-profiles/models/qemu-q35.toml"
    echo secret >"$dir/site/secrets/bmc-password"
    chmod 600 "$dir/site/secrets/bmc-password"
    cat >"$dir/site/muster.toml" <<CONF
data       = "data"
files      = "files"
secrets    = "secrets"
boot-image = "$BOOT_IMAGE"
images     = "$IMAGES"
api        = "$API_SERVER:8443"

[boot]
address = "$SERVER"

[[network]]
name      = "provisioning"
interface = "$BRIDGE"
subnet    = "10.77.0.0/24"
range     = ["10.77.0.50", "10.77.0.200"]
dedicated = true
CONF
    if declare -F prepare >/dev/null; then prepare "$dir"; fi
    export MUSTER_SERVER=https://$API_SERVER:8443
    export MUSTER_TOKEN_FILE=$dir/site/data/admin.token MUSTER_CA=$dir/site/data/ca.pem
    serve "$dir"
}

# machine DIR NAME key=value...: a machine of the demo's model at the demo's place.
machine() {
    local dir=$1 name=$2
    shift 2
    "$bed_sh" add "$dir" "$name" manufacturer=Muster 'product=Virtual Machine Q35' serial=MUSTER0001 \
        boot_uri=http://10.77.0.1:8080/boot/ipxe.efi "$@"
}

site_down() {
    "$bed_sh" down "$1"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    [ "${1:-}" = down ] && [ $# -eq 2 ] || { echo "usage: $0 down DIR" >&2; exit 2; }
    site_down "$2"
fi
