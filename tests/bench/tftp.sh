#!/bin/sh
# TFTP reads beside tftpd-hpa in the same run: one client, then four at once (the most for one address), with curl (window 1, as iPXE and GRUB ask).
# Needs: curl, tftpd-hpa (in.tftpd), root for in.tftpd's -s. Only loopback; own ports; ends what it started by process id.
set -eu
cd "$(dirname "$0")/../.."
rounds=${ROUNDS:-3}
size=${SIZE_MB:-16}
work=$(mktemp -d)
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT INT TERM
cargo build -q --release -p muster-bootserver --example files
chmod 755 "$work"
mkdir "$work/files"
head -c "$((size * 1048576))" /dev/urandom >"$work/files/loader"
chmod -R a+rX "$work/files"

target/release/examples/files "$work/files" 127.0.0.1:7069 127.0.0.1:7080 >/dev/null & ours_pid=$!
in.tftpd -L -4 -a 127.0.0.1:7070 -u "$(id -un)" -s "$work/files" & theirs_pid=$!
pids="$ours_pid $theirs_pid"
sleep 1

echo "# $(curl --version | head -n 1)"
echo "# $(in.tftpd -V 2>&1 | head -n 1)"
echo "# command: curl --tftp-blksize 1468 tftp://127.0.0.1:PORT/loader, $size MiB, $rounds rounds, best of all"

# seconds for $2 clients at once from port $1
once() {
    begin=$(date +%s.%N)
    waits=
    for n in $(seq "$2"); do
        curl -s --tftp-blksize 1468 -o "$work/got.$n" "tftp://127.0.0.1:$1/loader" & waits="$waits $!"
    done
    for w in $waits; do wait "$w"; done
    finish=$(date +%s.%N)
    for n in $(seq "$2"); do cmp -s "$work/got.$n" "$work/files/loader" || { echo "port $1: content differs" >&2; exit 1; }; done
    echo "$begin $finish" | awk '{ print $2 - $1 }'
}

# CPU ticks of ours; in.tftpd's children are reaped without being counted.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
before=$(ticks $ours_pid)

for clients in 1 4; do
    ours=999 theirs=999
    for round in $(seq "$rounds"); do
        t=$(once 7069 "$clients"); ours=$(echo "$ours $t" | awk '{ print ($2 < $1) ? $2 : $1 }')
        t=$(once 7070 "$clients"); theirs=$(echo "$theirs $t" | awk '{ print ($2 < $1) ? $2 : $1 }')
    done
    echo "$clients $ours $theirs $size" | awk '{ printf "clients=%d muster=%.1f MiB/s tftpd-hpa=%.1f MiB/s ratio=%.2f\n", $1, $1 * $4 / $2, $1 * $4 / $3, $3 / $2 }'
done
moved=$((rounds * 5 * size))
echo "$(ticks $ours_pid) $before $(getconf CLK_TCK) $moved" |
    awk '{ printf "muster: %.2f CPU s/GiB\n", ($1 - $2) / $3 / $4 * 1024 }'
