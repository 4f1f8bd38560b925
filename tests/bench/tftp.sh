#!/usr/bin/env bash
# TFTP reads of 8 MiB beside tftpd-hpa, atftpd and dnsmasq: one client and fifty, each with an address of its own, blocks
# of 1468 bytes one at a time as iPXE and GRUB ask; and one client and fifty with windows of 4, as UEFI firmware asks.
# Of the peers atftpd alone grants windows; the others go on block by block. One client program for all (tests/src/bin/load); every byte is compared.
. "$(dirname "$0")/lib.sh"
begin tftp
cargo build -q --locked --release -p muster-tests --bin load
cargo build -q --locked --release -p muster-daemon --bin muster
network
for n in 2 3 4; do ip -n "$SERVERS" address add "10.0.0.$n/8" dev eth-servers; done

muster_site "$work/muster"
muster_serve "$work/muster"
declare -A pid=([muster]=$launched) at=([muster]=10.0.0.1 [tftpd-hpa]=10.0.0.2 [atftpd]=10.0.0.3 [dnsmasq]=10.0.0.4)
served=$work/muster/served
launch "$work/hpa.log" "${in_servers[@]}" in.tftpd -L -4 -a "${at[tftpd-hpa]}:69" -u nobody -s "$served"
pid[tftpd-hpa]=$launched
launch "$work/atftpd.log" "${in_servers[@]}" .build/bench/atftpd/usr/sbin/atftpd --daemon --no-fork --bind-address "${at[atftpd]}" \
    --maxthread 200 --user nobody --group nogroup --logfile /dev/null --verbose=0 "$served"
pid[atftpd]=$launched
launch "$work/dnsmasq.log" "${in_servers[@]}" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file="$work/dnsmasq.pid" --port=0 \
    --listen-address="${at[dnsmasq]}" --bind-interfaces --enable-tftp --tftp-root="$served" --tftp-max=200 --user=root --log-facility=-
pid[dnsmasq]=$launched
sleep 1
say "# $(in.tftpd -V 2>&1 | head -n 1), atftpd 0.8.0, $(dnsmasq -v | head -n 1 | cut -d' ' -f1-3)"

# fetch NAME CLIENTS TIMES WINDOW
fetch() {
    local before report=$work/$1-$2-$4.json
    before=$(cpu "${pid[$1]}")
    clients timeout 120 "$LOAD" tftp server="${at[$1]}:69" name=loader.efi file="$served/loader.efi" clients="$2" times="$3" windowsize="$4" \
        from=10.0.1.1 >"$work/one"
    jq -c --arg before "$before" --arg after "$(cpu "${pid[$1]}")" '. + {cpu: ((($after | tonumber) - ($before | tonumber)) / .mib * 1024)}' \
        "$work/one" >>"$report"
    tail -n 1 "$report" | jq -r --arg who "$1, clients=$2, window=$4" \
        '"\($who): \(.mib_s | round) MiB/s, \(.cpu * 100 | round / 100) CPU s/GiB, \(.timeouts) timeouts"'
}
figure() { jq "$2" "$1" | median; }

all="muster tftpd-hpa atftpd dnsmasq"
for round in $(seq "$ROUNDS"); do
    for name in $(turns "$round" $all); do fetch "$name" 1 12 1; done
    for name in $(turns "$round" $all); do fetch "$name" 50 1 1; done
    for name in $(turns "$round" muster atftpd); do fetch "$name" 1 24 4; done
    for name in $(turns "$round" $all); do fetch "$name" 50 2 4; done
done

compare() {
    local clients=$1 window=$2 words=$3 target=$4 peer best ours command
    shift 4
    command="load tftp server=SERVER name=loader.efi clients=$clients windowsize=$window"
    ours=$(figure "$work/muster-$clients-$window.json" .mib_s)
    best=$(for peer in "$@"; do echo "$(figure "$work/$peer-$clients-$window.json" .mib_s) $peer"; done | sort -g | tail -n 1)
    for peer in "$@"; do
        result "tftp, $words" MiB/s "$ours" "$peer" "$(figure "$work/$peer-$clients-$window.json" .mib_s)" \
            "$([ "${best#* }" != "$peer" ] || echo "$target")" "$command"
        # Its children end uncounted.
        [ "$peer" != tftpd-hpa ] || continue
        result "tftp, $words, CPU" s/GiB "$(figure "$work/muster-$clients-$window.json" .cpu)" "$peer" \
            "$(figure "$work/$peer-$clients-$window.json" .cpu)" '' "$command"
    done
}
compare 1 1 "one client, lockstep" '' tftpd-hpa atftpd dnsmasq
compare 50 1 "50 clients, lockstep" '>=1.5' tftpd-hpa atftpd dnsmasq
compare 50 4 "50 clients, windows of 4" '>=1.5' tftpd-hpa atftpd dnsmasq
compare 1 4 "one client, windows of 4" '' atftpd
