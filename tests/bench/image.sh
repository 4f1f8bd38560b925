#!/usr/bin/env bash
# Writing an image to a disk: the agent's own way (tests of both digests, samples read back, partition table last) beside
# `curl | zstd -d | dd`, which has none of that. Same server, same file, a fresh loop device each time; both end with the
# data on the disk (fsync). An image of program files without holes, and one that is two thirds holes, as a fresh
# installation is; for the latter dd has `conv=sparse`, which leaves on a used disk what was there: wrong, but as quick
# as a pipe can be.
. "$(dirname "$0")/lib.sh"
begin image
cargo build -q --locked --profile agent -p muster-agent --example write
write=target/agent/examples/write
network

say "# $(curl --version | head -n 1 | cut -d' ' -f1,2), $(zstd --version | grep -o 'v[0-9.]*'), $(dd --version | head -n 1)"
served=$work/served
mkdir -p "$served"
chmod 755 "$served"
mib=${RAW_MIB:-1024}
# GPT, then what is really on disks: programs and libraries.
make_image() {
    local raw=$work/$1.raw data=$2
    truncate -s "${mib}M" "$raw"
    sgdisk -n 1:1M:0 -t 1:8300 "$raw" >/dev/null
    { tar -C / -c usr/lib usr/bin usr/share 2>/dev/null || true; } | head -c $(((data - 2) << 20)) |
        dd of="$raw" bs=1M seek=1 conv=notrunc iflag=fullblock status=none || true
    zstd -q -f -T0 -6 "$raw" -o "$served/$1.raw.zst"
}
make_image dense "$mib"
make_image holes $((mib / 3))
cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.log;
events { }
http { access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 10.0.0.1:80; root $served; } }
CONF
launch "$work/nginx.out" "${in_servers[@]}" nginx -c "$work/nginx.conf"
sleep 1

loop=
disk_down() { [ -z "$loop" ] || losetup -d "$loop"; loop=; }
trap 'disk_down; bench_end' EXIT
disk_up() {
    disk_down
    rm -f "$work/disk"
    fallocate -l $((mib + 64))M "$work/disk"
    sync "$work/disk"
    loop=$(losetup -f --show "$work/disk")
}

ours() {
    local packed=$served/$1.raw.zst
    clients "$write" "$loop" "http://10.0.0.1/$1.raw.zst" "$(stat -c %s "$packed")" "${digest[$1]}" $((mib << 20)) "${raw_digest[$1]}" >/dev/null
}
pipe() { clients curl -s "http://10.0.0.1/$1.raw.zst" | zstd -dcq | dd of="$loop" bs=1M iflag=fullblock conv="$2" status=none; }
declare -A digest raw_digest
for image in dense holes; do
    digest[$image]=$(sha256sum <"$served/$image.raw.zst" | cut -d' ' -f1)
    raw_digest[$image]=$(sha256sum <"$work/$image.raw" | cut -d' ' -f1)
done

# once NAME IMAGE COMMAND...: MB/s of the raw image. The partition's content must be the image's.
once() {
    local name=$1 image=$2 begun seconds
    shift 2
    disk_up
    begun=$(date +%s.%N)
    "$@"
    seconds=$(echo "$begun $(date +%s.%N)" | awk '{ print $2 - $1 }')
    cmp -s -i $((2 << 20)) -n $(((mib - 4) << 20)) "$work/$image.raw" "$loop" || { echo "$name: what is on the disk is not the image" >&2; exit 1; }
    echo "$seconds $mib" | awk '{ print $2 * 1.048576 / $1 }' | tee -a "$work/$name-$image" | sed "s/^/$name, $image: /"
}
for round in $(seq "$ROUNDS"); do
    for name in $(turns "$round" ours pipe); do
        case $name in
        ours) once ours dense ours dense; once ours holes ours holes ;;
        pipe) once pipe dense pipe dense fsync; once pipe holes pipe holes fsync; once sparse holes pipe holes sparse,fsync ;;
        esac
    done
done
command='curl -s URL | zstd -dcq | dd of=DISK bs=1M iflag=fullblock conv='
result "image, no holes" MB/s "$(median <"$work/ours-dense")" "curl, zstd, dd" "$(median <"$work/pipe-dense")" '>=1.3' "${command}fsync"
result "image, two thirds holes" MB/s "$(median <"$work/ours-holes")" "curl, zstd, dd" "$(median <"$work/pipe-holes")" '>=1.3' "${command}fsync"
result "image, two thirds holes" MB/s "$(median <"$work/ours-holes")" "the same, sparse" "$(median <"$work/sparse-holes")" '' "${command}sparse,fsync"
