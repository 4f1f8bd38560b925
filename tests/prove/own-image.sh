#!/usr/bin/env bash
# A disk image of the user's own, with cloud-init and without a trace of Muster, is installed: import.sh reads what it
# must know, the seed brings the agent, and the machine is in service by the agent's word. What cannot be installed is
# refused in words.
. "$(dirname "$0")/lib/scenario.sh"

bare=$build/bare
"pxe-images/os-image/build.sh" "$bare"
prepare() {
    local images=$1/images file=$1/own.raw
    zstd -q -d --sparse "$bare/disk.raw.zst" -o "$file"
    pxe-images/os-image/import.sh "$file" "$images/own"
    jq -e --slurpfile built "$bare/manifest.json" '.root_uuid == $built[0].root_uuid and .raw_sha256 == $built[0].raw_sha256
        and .boot == ["bios", "uefi"] and (has("agent_sha256") | not)' "$images/own/manifest.json" >/dev/null ||
        fail "the import read something else than what was built: $(jq -c . "$images/own/manifest.json")"
    cp "$images/own/os.toml" "$1/site/files/pxe-images/os/own.toml"
    sed -i "s|^images .*|images     = \"$images\"|" "$1/site/muster.toml"
}

# refused WORD FILE: not imported, for a reason that holds the word.
refused() {
    local said
    if said=$(pxe-images/os-image/import.sh "$2" "$bed/refused" 2>&1); then fail "$2 was imported"; fi
    [[ $said == *"$1"* ]] || fail "$2 was refused without the word \"$1\": $said"
}

site
truncate -s 4M "$bed/zero.raw"
refused "no GPT" "$bed/zero.raw"
printf 'QFI\373\0\0\0\3' >"$bed/an.qcow2"
refused "qemu-img convert -O raw" "$bed/an.qcow2"
cp --sparse=always "$bed/own.raw" "$bed/foreign.raw"
sgdisk -d 3 "$bed/foreign.raw" >/dev/null
refused "no root file system" "$bed/foreign.raw"

machine "$bed" node1 firmware=bios
discovered node1
muster install own node1 --yes --user 'ops!' >/dev/null
served node1
show node1 | holds "the agent is the one that the boot image carries" '.[0].agent.version == $version' \
    --arg version "$("$AGENT" --version | awk '{print $NF}')"
events node1 | holds "its check found the root file system of the image, and the user" \
    '[.[] | select(.kind == "check-judged") | .body.detail.checked] | last | .root_uuid == $uuid and (.users | index("ops")) != null' \
    --arg uuid "$(jq -r .root_uuid "$bed/images/own/manifest.json")"
[ "$(grep -c 'boot/muster-agent.*sent\|sent.*boot/muster-agent' "$bed/muster.log")" -ge 1 ] || fail "nobody fetched the agent"
whole
note "an image without an agent is in service, with one"
