# The DHCP servers of tests/bench/dhcp.sh, each with the same network, pool and boot file. Sourced.
#   serve_NAME CLIENTS DIR     writes its configuration into DIR and launches it; CLIENTS is new or reserved
# shellcheck shell=bash
# Large enough for what the quick ones give away in one run; the others prepare every address of a pool at their start.
wide=10.16.0.0-10.79.255.255
narrow=10.16.0.0-10.16.255.255

serve_muster() {
    local dir=$2
    if [ "$1" = reserved ]; then
        launch "$dir/log" "${in_servers[@]}" "$bench_root/target/release/examples/reserved" eth-servers 10.0.0.1 "$dir/data" "$work/reserved"
        return
    fi
    muster_site "$dir"
    muster_serve "$dir"
}

serve_kea() {
    local dir=$2 reservations=''
    if [ "$1" = reserved ]; then
        reservations=", \"reservations\": [$(awk '{ printf "%s{\"hw-address\":\"%s\",\"ip-address\":\"%s\"}", (NR > 1) ? "," : "", $1, $2 }' "$work/reserved")]"
    fi
    cat >"$dir/kea.json" <<CONF
{ "Dhcp4": {
    "interfaces-config": { "interfaces": [ "eth-servers" ], "dhcp-socket-type": "${KEA_SOCKET:-udp}" },
    "multi-threading": { "enable-multi-threading": ${KEA_THREADS:-false}, "thread-pool-size": 2, "packet-queue-size": 64 },
    "lease-database": { "type": "memfile", "persist": true, "name": "$dir/leases.csv", "lfc-interval": 0 },
    "valid-lifetime": 3600, "host-reservation-identifiers": [ "hw-address" ],
    "next-server": "10.0.0.1", "boot-file-name": "ipxe.efi",
    "option-data": [ { "name": "routers", "data": "10.0.0.1" }, { "name": "domain-name-servers", "data": "10.0.0.1" } ],
    "subnet4": [ { "id": 1, "subnet": "10.0.0.0/8", "pools": [ { "pool": "$wide" } ]$reservations } ],
    "loggers": [ { "name": "kea-dhcp4", "severity": "ERROR", "output_options": [ { "output": "stdout" } ] } ]
} }
CONF
    launch "$dir/log" "${in_servers[@]}" env KEA_LOCKFILE_DIR="$dir" KEA_PIDFILE_DIR="$dir" kea-dhcp4 -c "$dir/kea.json"
}

serve_isc() {
    local dir=$2
    {
        echo 'authoritative; ping-check false; default-lease-time 3600; max-lease-time 3600; next-server 10.0.0.1; filename "ipxe.efi";'
        echo 'option routers 10.0.0.1; option domain-name-servers 10.0.0.1;'
        echo "subnet 10.0.0.0 netmask 255.0.0.0 { range ${narrow%-*} ${narrow#*-}; }"
        if [ "$1" = reserved ]; then
            awk '{ print "host h" NR " { hardware ethernet " $1 "; fixed-address " $2 "; }" }' "$work/reserved"
        fi
    } >"$dir/dhcpd.conf"
    : >"$dir/leases"
    launch "$dir/log" "${in_servers[@]}" dhcpd -4 -f -q -cf "$dir/dhcpd.conf" -lf "$dir/leases" -pf "$dir/pid" eth-servers
}

serve_dnsmasq() {
    local dir=$2
    local -a hosts=()
    if [ "$1" = reserved ]; then
        tr ' ' ',' <"$work/reserved" >"$dir/hosts"
        hosts=(--dhcp-hostsfile="$dir/hosts")
    fi
    launch "$dir/log" "${in_servers[@]}" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file="$dir/pid" --port=0 --interface=eth-servers \
        --bind-interfaces --no-ping --quiet-dhcp --user=root --dhcp-range="${narrow%-*},${narrow#*-},255.0.0.0,1h" \
        --dhcp-lease-max=100000 --dhcp-leasefile="$dir/leases" --dhcp-boot=ipxe.efi,,10.0.0.1 --dhcp-option=3,10.0.0.1 "${hosts[@]}"
}

# Not a server: what the generator itself can drive.
serve_nothing() { launch "$2/log" "${in_servers[@]}" "$LOAD" respond at=10.0.0.1; }
