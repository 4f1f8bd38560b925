# Shared by the measurements of tests/bench: packages, a network of their own, processes ended by id, medians, and one
# list of results. Sourced, never run by itself.
#
#   begin NAME              as root, in the repository, with $work empty and everything ended when the script ends
#   network                 two namespaces with one cable: "${in_servers[@]}" COMMAND at 10.0.0.1/8, and `clients COMMAND`
#                           with 64 addresses from 10.0.1.1 on
#   launch LOG COMMAND...   in the background; its process id is in $launched and is ended with the script
#   stop PID                asks, waits, insists
#   median                  of the numbers on its input, a line each
#   result NAME UNIT OURS PEER PEER_VALUE TARGET COMMAND
#
# A result's ratio is ours by the peer's. TARGET says what it has to be: ">=1.5", "<=1", or "" where nothing is promised.
# With "<20" it is our own value that is held against the target, not the ratio.
# shellcheck shell=bash
set -euo pipefail

bench_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$bench_root"
bench_out=$bench_root/target/bench
LOAD=$bench_root/target/release/load
MUSTER=$bench_root/target/release/muster
ROUNDS=${ROUNDS:-3}
# Process ids with the time they were born, so that an id that the system gave away again is nobody of ours.
declare -A bench_born=()
bench_spaces=()

say() { printf '%s\n' "$*"; }

begin() {
    part=$1
    work=$bench_out/scratch/$part
    trap bench_end EXIT
    trap 'exit 130' INT TERM
    [ "$(id -u)" = 0 ] || { echo "make bench takes root: it makes networks and starts servers on ports below 1024" >&2; exit 1; }
    tests/bench/install.sh
    rm -rf "$work"
    mkdir -p "$work"
    # tftpd-hpa and nginx leave root behind and must still reach what they serve.
    chmod 755 "$bench_out" "$bench_out/scratch" "$work"
    : >"$bench_out/$part.jsonl"
}

bench_end() {
    local pid space
    for pid in "${!bench_born[@]}"; do stop "$pid"; done
    for space in "${bench_spaces[@]}"; do ip netns del "$space" 2>/dev/null || true; done
}

network() {
    SERVERS=mb-$$-servers
    CLIENTS=mb-$$-clients
    bench_spaces+=("$SERVERS" "$CLIENTS")
    ip netns add "$SERVERS"
    ip netns add "$CLIENTS"
    ip link add eth-servers netns "$SERVERS" type veth peer name eth-clients netns "$CLIENTS"
    local space side
    for side in servers clients; do
        space=mb-$$-$side
        ip -n "$space" link set lo up
        ip -n "$space" link set "eth-$side" up
    done
    # Becomes the command it is given, so that a launched server has the id that was launched.
    in_servers=(ip netns exec "$SERVERS")
    ip -n "$SERVERS" address add 10.0.0.1/8 dev eth-servers
    # Relays of the DHCP load, and one address for each client of TFTP.
    { for n in $(seq 64); do echo "address add 10.0.1.$n/8 dev eth-clients"; done; } | ip -n "$CLIENTS" -batch -
}

clients() { ip netns exec "$CLIENTS" "$@"; }

born() { awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null || true; }
runs() { [ -n "${bench_born[$1]:-}" ] && [ "$(born "$1")" = "${bench_born[$1]}" ]; }

launch() {
    local log=$1
    shift
    "$@" </dev/null >>"$log" 2>&1 &
    launched=$!
    bench_born[$launched]=$(born "$launched")
    disown
}

stop() {
    local i
    for i in $(seq 100); do
        runs "$1" || break
        case $i in
        1) kill "$1" 2>/dev/null || true ;;
        80) kill -9 "$1" 2>/dev/null || true ;;
        esac
        sleep 0.1
    done
    unset "bench_born[$1]"
}

median() { sort -g | awk '{ value[NR] = $1 } END { print (NR % 2) ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }

# turns ROUND NAME...: the names in another order each round, so that none is always measured first.
turns() {
    local round=$1
    shift
    local names=("$@") i
    for i in $(seq 0 $(($# - 1))); do echo "${names[(i + round) % $#]}"; done
}

# muster_site DIR: a configuration of `muster serve` for the cable, with loaders loader.efi (8 MiB) and small.efi (20 kB)
# and, where IMAGE_MIB says how long, the image /images/bench/disk.raw.zst; all in DIR/served for the peers too.
muster_site() {
    local dir=$1 served=$1/served
    mkdir -p "$dir"/files/{pxe-images/clients,pxe-images/loaders,pxe-images/os,rack-layouts} "$dir/images/bench" "$served"
    chmod 755 "$dir" "$served"
    cp -r firmware-profiles "$dir/files/"
    head -c $((8 << 20)) /dev/urandom >"$served/loader.efi"
    head -c 20000 /dev/urandom >"$served/small.efi"
    local name arch='[7, 9]'
    for name in loader small; do
        cat >"$dir/files/pxe-images/loaders/$name.toml" <<CONF
id = "$name"
title = "Bytes of no meaning, for measuring"
evidence = "synthetic"
arch = $arch
transport = "tftp"
firmware = "uefi"
file = "$name.efi"
source = { package = "none", path = "$served/$name.efi" }
CONF
        arch='[]'
    done
    if [ -n "${IMAGE_MIB:-}" ]; then muster_image "$dir"; fi
    cat >"$dir/muster.toml" <<CONF
data   = "data"
files  = "files"
images = "images"
api    = "127.0.0.1:8443"

[boot]
address = "10.0.0.1"

[[network]]
name      = "bench"
interface = "eth-servers"
subnet    = "10.0.0.0/8"
range     = ["10.16.0.0", "10.79.255.255"]
gateway   = "10.0.0.1"
dedicated = true
CONF
}

muster_image() {
    local dir=$1 zeros n bytes=$((IMAGE_MIB << 20))
    zeros=$(printf '0%.0s' $(seq 64))
    for n in $(seq $((IMAGE_MIB / 8))); do cat "$dir/served/loader.efi"; done >"$dir/images/bench/disk.raw.zst"
    ln "$dir/images/bench/disk.raw.zst" "$dir/served/disk.raw.zst"
    cat >"$dir/files/pxe-images/os/bench.toml" <<CONF
id = "bench"
title = "Bytes of no meaning, for measuring"
evidence = "synthetic"
file = "disk.raw.zst"
manifest = "manifest.json"
firmware = ["uefi", "bios"]
min-disk-mib = 65536
CONF
    cat >"$dir/images/bench/manifest.json" <<CONF
{ "id": "bench", "version": "1", "file": "disk.raw.zst", "sha256": "$zeros", "bytes": $bytes, "raw_sha256": "$zeros",
  "raw_bytes": $bytes, "root_uuid": "00000000-0000-4000-8000-000000000000", "compression": "zstd" }
CONF
}

# muster_serve DIR: launches it and waits until it serves files.
muster_serve() {
    local i
    launch "$1/log" "${in_servers[@]}" env MUSTER_LOG="${MUSTER_LOG:-warn}" "$MUSTER" serve --config "$1/muster.toml"
    for i in $(seq 100); do
        if clients curl -sf --max-time 2 -o /dev/null http://10.0.0.1:8080/boot/small.efi; then return; fi
        runs "$launched" || break
        sleep 0.1
    done
    tail -n 20 "$1/log" >&2
    echo "muster does not serve; its log is $1/log" >&2
    return 1
}

# CPU seconds of a process and of its children that have ended.
cpu() { sed 's/.*) //' "/proc/$1/stat" | awk -v hertz="$(getconf CLK_TCK)" '{ print ($12 + $13 + $14 + $15) / hertz }'; }

result() {
    jq -cn --arg name "$1" --arg unit "$2" --argjson ours "$3" --arg peer "$4" --argjson peer_value "$5" --arg target "$6" \
        --arg command "$7" '
        def round3: . * 1000 | round / 1000;
        (if $peer_value == null or $peer_value == 0 then null else $ours / $peer_value | round3 end) as $ratio
        | ($target | capture("^(?<how>[<>]=?)(?<bound>[0-9.]+)$") // null) as $t
        | (if $t == null then null else
            (if ($t.how | endswith("=")) then $ratio else $ours end) as $value | ($t.bound | tonumber) as $bound
            | $value != null and (if ($t.how | startswith("<")) then $value <= $bound else $value >= $bound end) end) as $met
        | {$name, $unit, ours: ($ours | round3), $peer, peer_value: (if $peer_value == null then null else $peer_value | round3 end),
           $ratio, $command, $target, $met}' >>"$bench_out/$part.jsonl"
}

# table FILE...: the results for people.
table() {
    jq -rs 'def n: if . == null then "-" elif . >= 100 then (round | tostring) else tostring end;
        ["measured", "unit", "ours", "peer", "its", "ratio", "target", ""],
        (.[] | [.name, .unit, (.ours | n), .peer, (.peer_value | n), (.ratio | n), .target,
            (if .met == null then "" elif .met then "met" else "MISSED" end)]) | map(if . == "" then " " else . end) | @tsv' "$@" |
        column -t -s "$(printf '\t')"
}
