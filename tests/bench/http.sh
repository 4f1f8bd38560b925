#!/usr/bin/env bash
# Boot HTTP beside nginx with sendfile: a large file from the page cache, one client after the other with curl, and a
# small one from memory with sixteen connections of wrk; and the server's CPU for each. Beside them the way that decision
# 5 turned down, a file copied in chunks (server/bootserver/examples/copying.rs).
. "$(dirname "$0")/lib.sh"
begin http
cargo build -q --locked --release -p muster-daemon --bin muster
cargo build -q --locked --release -p muster-bootserver --example copying
network
IMAGE_MIB=${IMAGE_MIB:-1024}
muster_site "$work/muster"
muster_serve "$work/muster"
muster=$launched
served=$work/muster/served
cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; open_file_cache max=100;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 10.0.0.1:7081 backlog=4096; root $served; } }
CONF
launch "$work/nginx.out" "${in_servers[@]}" nginx -c "$work/nginx.conf"
nginx=$launched
launch "$work/copying.out" "${in_servers[@]}" target/release/examples/copying "$served/disk.raw.zst" 10.0.0.1:7082
copying=$launched
sleep 1
say "# $(nginx -v 2>&1), $(curl --version | head -n 1 | cut -d' ' -f1,2), $(wrk -v 2>&1 | head -n 1 | cut -d' ' -f1,2)"

url() { case $1-$2 in
    muster-large) echo http://10.0.0.1:8080/images/bench/disk.raw.zst ;;
    muster-small) echo http://10.0.0.1:8080/boot/small.efi ;;
    nginx-large) echo http://10.0.0.1:7081/disk.raw.zst ;;
    copying-large) echo http://10.0.0.1:7082/ ;;
    nginx-small) echo http://10.0.0.1:7081/small.efi ;;
esac; }

# fetch NAME PID SIZE: one line `rate CPU`, MB/s and s/GiB for large, requests/s and us for small.
fetch() {
    local before rate each
    before=$(cpu "$2")
    if [ "$3" = large ]; then
        rate=$(clients curl -s -o /dev/null -w '%{speed_download}' "$(url "$1" large)" | awk '{ print $1 / 1e6 }')
        each=$(echo "$before $(cpu "$2") $IMAGE_MIB" | awk '{ print ($2 - $1) / $3 * 1024 }')
    else
        clients wrk -t1 -c16 -d"${WRK_SECONDS:-4}" "$(url "$1" small)" >"$work/wrk.out"
        ! grep -q 'Non-2xx' "$work/wrk.out" || { echo "$1: answers that are none" >&2; exit 1; }
        rate=$(awk '/Requests\/sec/ { print $2 }' "$work/wrk.out")
        each=$(awk -v before="$before" -v after="$(cpu "$2")" '/requests in/ { print (after - before) / $1 * 1e6 }' "$work/wrk.out")
    fi
    echo "$rate $each" | tee -a "$work/$1-$3" | sed "s/^/$1, $3: /"
}
figure() { awk -v n="$3" '{ print $n }' "$work/$1-$2" | median; }

[ "$(clients curl -s "$(url muster large)" | sha256sum)" = "$(sha256sum <"$served/disk.raw.zst")" ] || { echo "the image came changed" >&2; exit 1; }
clients curl -s -o /dev/null "$(url nginx large)"
for round in $(seq "$ROUNDS"); do
    for size in large large small; do
        names="muster nginx"
        [ "$size" = small ] || names="muster nginx copying"
        for name in $(turns "$round" $names); do fetch "$name" "${!name}" "$size"; done
    done
done
for size in large small; do
    command="curl -o /dev/null URL" unit=MB/s each=s/GiB target='>=0.9'
    [ "$size" = large ] || command="wrk -t1 -c16 -d4 URL" unit=1/s each=us target='>=1'
    result "http, $size file" $unit "$(figure muster $size 1)" nginx "$(figure nginx $size 1)" "$target" "$command"
    result "http, $size file, CPU" $each "$(figure muster $size 2)" nginx "$(figure nginx $size 2)" '<=1' "$command"
done
result "http, large file" MB/s "$(figure muster large 1)" "copying" "$(figure copying large 1)" '' "curl -o /dev/null URL"
result "http, large file, CPU" s/GiB "$(figure muster large 2)" "copying" "$(figure copying large 2)" '' "curl -o /dev/null URL"
