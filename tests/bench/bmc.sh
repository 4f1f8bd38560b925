#!/usr/bin/env bash
# A thousand BMCs a protocol, simulated on loopback addresses (tests/src/bin/load/bmcs.rs): the power of all of them beside
# FreeIPMI's ipmipower and many ipmitools over RMCP+ with cipher suite 17, and over Redfish beside curl; once with logging
# in, and again with the sessions that a watch finds open. Then the same with every tenth BMC dead: what that does to the
# others. Then the whole inventory of 200 servers with one recorded tree, where MUSTER_CAPTURES names the recordings.
. "$(dirname "$0")/lib.sh"
begin bmc
cargo build -q --locked --release -p muster-tests --bin load --example sweep
cargo build -q --locked --release -p muster-daemon --bin muster
SWEEP=$bench_root/target/release/examples/sweep
count=1000
network
say "# $(ipmipower --version | head -n 1), $(ipmitool -V), $(curl --version | head -n 1 | cut -d' ' -f1-2)"

# bmcs WORD...: simulators until `stop "$row"`.
bmcs() {
    local i
    : >"$work/row"
    launch "$work/row" "${in_servers[@]}" "$LOAD" bmcs "$@"
    row=$launched
    for i in $(seq 200); do
        if grep -qx ready "$work/row"; then return; fi
        runs "$row" || break
        sleep 0.1
    done
    cat "$work/row" >&2
    echo "the simulated BMCs do not listen" >&2
    return 1
}

# timed NAME COMMAND...: how many BMCs a second; COMMAND has to say `off` of every one.
timed() {
    local name=$1 begun off
    shift
    begun=$(date +%s.%N)
    "${in_servers[@]}" "$@" >"$work/said" 2>&1 || true
    echo "$begun $(date +%s.%N) $count" | awk '{ print $3 / ($2 - $1) }' >>"$work/$name.rate"
    off=$(grep -ciw off "$work/said" || true)
    [ "$off" -ge "$count" ] || { tail -n 5 "$work/said" >&2; echo "$name: $off of $count answered" >&2; return 1; }
    say "$name: $(tail -n 1 "$work/$name.rate" | cut -d. -f1) BMCs/s"
}
rate() { median <"$work/$1.rate"; }

secret=$work/password
echo secret >"$secret"
hosts='127.4.0.[1-255],127.4.1.[0-255],127.4.2.[0-255],127.4.3.[0-232]'
ours() { timed "$1" "$MUSTER" bmc power "$2.0.[1-255]" "$2.1.[0-255]" "$2.2.[0-255]" "$2.3.[0-232]" --user admin --password-file "$secret" --output json; }
many_ipmitools() {
    local each="for a in \$(seq 1 $count); do echo 127.4.\$((a / 256)).\$((a % 256)); done"
    timed ipmitool bash -c "{ $each; } | xargs -P 64 -I{} ipmitool -I lanplus -C 17 -U admin -P secret -H {} power status"
}
# The service root alone, which needs no login: a handshake and one exchange where ours takes six.
many_curls() {
    awk -v count="$count" 'BEGIN { for (a = 1; a <= count; a++)
        printf "url = https://127.5.%d.%d/redfish/v1/\noutput = /dev/null\n", a / 256, a % 256 }' >"$work/urls"
    timed curl curl -k --no-progress-meter --parallel --parallel-max 300 --write-out 'off %{http_code}\n' --config "$work/urls"
    if grep '^off' "$work/said" | grep -qv 200; then echo "curl: not every root was read" >&2; return 1; fi
}

# sweep NAME WORD...: the rounds of one process; how many BMCs a second in the first, and in the others.
sweep() {
    local name=$1
    shift
    "${in_servers[@]}" "$SWEEP" "$@" >"$work/$name.json"
    jq -r 'select(.round == 0) | .answered / .seconds' "$work/$name.json" >>"$work/$name-cold.rate"
    jq -r 'select(.round > 0) | .answered / .seconds' "$work/$name.json" | median >>"$work/$name-warm.rate"
    say "$name: $(tail -n 1 "$work/$name-cold.rate" | cut -d. -f1) BMCs/s, then $(tail -n 1 "$work/$name-warm.rate" | cut -d. -f1)"
}

for round in $(seq "$ROUNDS"); do
    bmcs count=$count ipmi=127.4.0.1 redfish=127.5.0.1
    for name in $(turns "$round" muster ipmipower ipmitool curl redfish); do
        case $name in
        muster) ours ipmi ipmi://127.4 ;;
        redfish) ours redfish https://127.5 ;;
        ipmipower) timed ipmipower ipmipower --stat -D LAN_2_0 -I 17 -u admin -p secret -h "$hosts" ;;
        ipmitool) many_ipmitools ;;
        curl) many_curls ;;
        esac
    done
    sweep all-ipmi power ipmi://127.4.0.1 $count 6
    sweep all-redfish power https://127.5.0.1 $count 6
    stop "$row"
    bmcs count=$count dead=$((count / 10)) ipmi=127.4.0.1 redfish=127.5.0.1
    sweep tenth-ipmi power ipmi://127.4.0.1 $count 4
    sweep tenth-redfish power https://127.5.0.1 $count 2
    stop "$row"
done

command='muster bmc power RANGE'
result "bmc, power of 1,000 over RMCP+, with login" BMCs/s "$(rate ipmi)" ipmipower "$(rate ipmipower)" '>=3' "$command"
result "bmc, power of 1,000 over RMCP+, with login" BMCs/s "$(rate ipmi)" "ipmitool, 64 at once" "$(rate ipmitool)" '' "$command"
result "bmc, power of 1,000 over RMCP+, open sessions" BMCs/s "$(rate all-ipmi-warm)" ipmipower "$(rate ipmipower)" '>=3' "sweep power"
result "bmc, power of 1,000 over Redfish, with login" BMCs/s "$(rate redfish)" "curl, the root alone" "$(rate curl)" '' "$command"
result "bmc, power of 1,000 over Redfish, open sessions" BMCs/s "$(rate all-redfish-warm)" "curl, the root alone" "$(rate curl)" '' "sweep power"
for protocol in ipmi redfish; do
    for how in cold warm; do
        result "bmc, $protocol, $how, the living beside a dead tenth" BMCs/s "$(rate "tenth-$protocol-$how")" "none dead" "$(rate "all-$protocol-$how")" '>=0.9' "sweep power"
    done
done

if [ -n "${MUSTER_CAPTURES:-}" ]; then
    bmcs count=200 trees=127.6.0.1 tree=dell_r750
    for round in $(seq "$ROUNDS"); do sweep inventory inspect https://127.6.0.1 200 2; done
    result "bmc, whole inventory of 200 servers, with login" BMCs/s "$(rate inventory-cold)" none null '' "sweep inspect"
    result "bmc, whole inventory of 200 servers, open sessions" BMCs/s "$(rate inventory-warm)" none null '' "sweep inspect"
fi
