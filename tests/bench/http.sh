#!/bin/sh
# Boot HTTP beside nginx (sendfile on) and beside plain chunked copying, in the same run: one large file with curl, one
# small file with wrk. Needs: curl, nginx, wrk. Only loopback; own ports, own nginx config; ends what it started by
# process id.
set -eu
cd "$(dirname "$0")/../.."
rounds=${ROUNDS:-5}
size=${SIZE_MB:-1024}
work=$(mktemp -d)
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT INT TERM
cargo build -q --release -p muster-bootserver --examples
chmod 755 "$work"
mkdir "$work/files"
head -c "$((size * 1048576))" /dev/zero >"$work/files/image.raw"
head -c 20000 /dev/urandom >"$work/files/boot.ipxe"
chmod -R a+rX "$work/files"
cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log $work/error.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:7081; root $work/files; } }
CONF

target/release/examples/files "$work/files" 127.0.0.1:7069 127.0.0.1:7080 >/dev/null & ours=$!
pids="$pids $ours"
nginx -c "$work/nginx.conf" 2>/dev/null & theirs=$!
pids="$pids $theirs"
target/release/examples/copying "$work/files/image.raw" 127.0.0.1:7082 & copying=$!
pids="$pids $copying"
sleep 1

echo "# $(curl --version | head -n 1)"
echo "# $(nginx -v 2>&1)"
echo "# large: curl -o /dev/null http://127.0.0.1:PORT/image.raw, $size MiB, $rounds rounds taking turns, best of all"

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
hertz=$(getconf CLK_TCK)
for name in muster nginx copying; do echo 0 >"$work/cpu.$name"; : >"$work/speed.$name"; done
for round in $(seq "$rounds"); do
    for server in "muster 7080 $ours" "nginx 7081 $theirs" "copying 7082 $copying"; do
        set -- $server
        before=$(ticks "$3")
        curl -s --noproxy '*' -o /dev/null -w '%{speed_download}\n' "http://127.0.0.1:$2/image.raw" >>"$work/speed.$1"
        echo "$(cat "$work/cpu.$1") $(ticks "$3") $before" | awk '{ print $1 + $2 - $3 }' >"$work/cpu.next"
        mv "$work/cpu.next" "$work/cpu.$1"
    done
done
for name in muster nginx copying; do
    best=$(sort -n "$work/speed.$name" | tail -n 1)
    echo "$name $best $(cat "$work/cpu.$name") $hertz $rounds $size" |
        awk '{ printf "large %-8s %.2f GB/s, server %.3f CPU s/GiB\n", $1, $2 / 1e9, $3 / $4 / $5 / $6 * 1024 }'
done

if command -v wrk >/dev/null; then
    echo "# $(wrk -v 2>&1 | head -n 1 | cut -c1-40)"
    echo "# small: wrk -t1 -c16 -d5 http://127.0.0.1:PORT/boot.ipxe (20 kB)"
    a=$(wrk -t1 -c16 -d5 http://127.0.0.1:7080/boot.ipxe | awk '/Requests\/sec/ { print $2 }')
    b=$(wrk -t1 -c16 -d5 http://127.0.0.1:7081/boot.ipxe | awk '/Requests\/sec/ { print $2 }')
    echo "$a $b" | awk '{ printf "small muster=%d/s nginx=%d/s ratio=%.2f\n", $1, $2, $1 / $2 }'
fi
