#!/usr/bin/env bash
# A BMC that is not ours: OpenIPMI's, with QEMU behind it. What is switched is switched at QEMU itself, a boot override is seen
# by the chassis and by the firmware, what is read of sensors and log is what ipmitool and FreeIPMI read, and the console
# carries the machine's words and ours. First asked from here, then the daemon does the same to a machine of its own.
. "$(dirname "$0")/lib/scenario.sh"
timed "hand" cargo build --locked -p muster-tests --example bmc
HAND=${CARGO_TARGET_DIR:-$repo/target}/debug/examples/bmc

inside() { ip netns exec "$NS" "$@"; }
# ask VERB...: `muster bmc VERB` of the machine's BMC. hand ACT...: an act of the engine on it. peer COMMAND...: ipmitool's.
ask() {
    local verb=$1
    shift
    inside "$MUSTER" --output json bmc "$verb" "ipmi://$BMC" --user "$BMC_USER" --password-file "$bed/site/secrets/bmc-password" "$@"
}
hand() { inside env "BMC_USER=$BMC_USER" "BMC_PASSWORD=$BMC_PASSWORD" BMC_PROFILE=openipmi-sim "$HAND" "ipmi://$BMC" "$@" >>"$bed/hand.log"; }
peer() { inside ipmitool -I lanplus -C 3 -H "$BMC" -U "$BMC_USER" -P "$BMC_PASSWORD" "$@"; }

# powered on|off: QEMU's process is there or not, and everybody says so.
powered() {
    local i told
    for i in $(seq $((20 * patience))); do
        case $1 in
            on) ! alive "$machine/qemu.pid" || break ;;
            off) alive "$machine/qemu.pid" || break ;;
        esac
        sleep 0.5
    done
    case $1 in
        on) alive "$machine/qemu.pid" || fail "$NAME was switched on, and there is no QEMU" ;;
        off) ! alive "$machine/qemu.pid" || fail "$NAME was switched off, and QEMU runs" ;;
    esac
    told=$(ask power | jq -r '.[0].power')
    [ "$told" = "$1" ] || fail "$NAME is $1 at QEMU and $told by its BMC"
    peer chassis power status | grep -q "is $1\$" || fail "ipmitool says otherwise: $(peer chassis power status)"
}

# The boot sector of a machine that says who it is and answers each letter in the other case.
answering_disk() {
    printf '\x31\xc0\x8e\xd8\xbe\x24\x7c\xba\xf8\x03\xfc\xac\x84\xc0\x74\x03\xee\xeb\xf8' >"$1"
    printf '\xba\xfd\x03\xec\xa8\x01\x74\xf8\xba\xf8\x03\xec\x34\x20\xee\xeb\xefTHIS DISK ANSWERS\r\n' >>"$1"
    truncate -s 510 "$1"
    printf '\x55\xaa' >>"$1"
}
# hears WORDS SECONDS
hears() {
    local i
    for i in $(seq "$2"); do
        if grep -aqF "$1" "$bed/console.out"; then return 0; fi
        sleep 1
    done
    return 1
}
heard() {
    hears "$1" $((60 * patience)) && return
    fail "the console never said $1; it said: $(tail -c 500 "$bed/console.out" | tr -dc '[:print:]\n')"
}
# console_opened SECONDS: `muster bmc console` beside us; what is written to descriptor 7 is typed.
console_opened() {
    rm -f "$bed/keys" "$bed/console.out" "$bed/console.err"
    mkfifo "$bed/keys"
    ip netns exec "$NS" "$MUSTER" bmc console "ipmi://$BMC" --user "$BMC_USER" --password-file "$bed/site/secrets/bmc-password" --for "$1" \
        <"$bed/keys" >"$bed/console.out" 2>"$bed/console.err" &
    remember "$bed/pids/console.pid" $!
    exec 7>"$bed/keys"
    for _ in $(seq 50); do
        if grep -q 'the console is open' "$bed/console.err"; then return 0; fi
        sleep 0.2
    done
    fail "the console did not open: $(cat "$bed/console.err")"
}
console_closed() {
    exec 7>&-
    end "$bed/pids/console.pid"
}

site
answering_disk "$bed/answering.raw"
# Beside the layout's machine, and no business of the daemon's.
machine "$bed" talker firmware=bios serial=TALKER1 port=swp9 bmc=10.77.1.50 disk_image="$bed/answering.raw" \
    "bmc_more=$repo/tests/prove/lib/sensors.emu"
load_machine talker

ask inspect | holds "the BMC tells its machine's UUID and that it is off" '.[0] | .uuid == $uuid and .power == "off"' --arg uuid "$UUID"
powered off
hand power on
powered on
hand power on
[ "$(switched talker started)" = 1 ] || fail "what was on was switched on again"
hand power reset
[ "$(switched talker reset)" = 1 ] || fail "a reset did not reach QEMU"
hand power cycle
powered on
[ "$(switched talker started)/$(switched talker stopped)" = 2/1 ] || fail "a cycle is off and on: $(cat "$machine/power.log")"
hand power off
powered off
note "power: on, on again, reset, cycle and off were seen at QEMU"

hand boot pxe once
grep -q 'set boot pxe' "$machine/power.log" || fail "the chassis heard of no override: $(cat "$machine/power.log")"
peer chassis bootparam get 5 | grep -q 'Force PXE' || fail "ipmitool reads another override: $(peer chassis bootparam get 5)"
hand power on
grep -q 'started from net' "$machine/power.log" || fail "the machine did not start from the network"
hand power off
hand boot pxe once
hand boot none once
peer chassis bootparam get 5 | grep -q 'No override' || fail "ipmitool reads an override: $(peer chassis bootparam get 5)"
note "boot override: set, taken by the firmware, and taken back"

# The simulator joins a console with its machine a while after that came on, and what was said before is lost.
hand power on
console_opened 300
for _ in $(seq 6); do
    hand power reset
    if hears "THIS DISK ANSWERS" 10; then break; fi
done
heard "THIS DISK ANSWERS"
printf 'muster types' >&7
heard "MUSTER"
heard "TYPES"
console_closed
grep -aq "THIS DISK ANSWERS" "$machine/serial.log" || fail "QEMU's own record has no such words"
hand power off
note "console: the machine's first words, and letters both ways"

# All three read at the same time, or a polled value may differ.
read_sensors() {
    ask sensors >"$bed/sensors.ours"
    peer sensor >"$bed/sensors.ipmitool"
    inside ipmi-sensors -D LAN_2_0 -h "$BMC" -u "$BMC_USER" -p "$BMC_PASSWORD" -I 3 -l ADMIN -W opensesspriv --comma-separated-output \
        --output-sensor-state --output-sensor-thresholds --quiet-cache "--sdr-cache-directory=$bed" >"$bed/sensors.freeipmi"
}
agree() { tests/prove/lib/sensors.py "$bed/sensors.ours" "$bed/sensors.ipmitool" "$bed/sensors.freeipmi"; }
read_sensors
compared=$(agree) || fail "the three do not read the same: $compared"
[ "$compared" = "10 sensors, 44 numbers" ] || fail "not everything was compared: $compared"
# A comparison that cannot fail compares nothing.
jq '(.[] | select(.name == "P12V").value) += 0.06' "$bed/sensors.ours" >"$bed/bent" && mv "$bed/bent" "$bed/sensors.ours"
if agree >/dev/null 2>&1; then fail "a value that is off by one step passed the comparison"; fi
note "sensors: $compared are the same to ipmitool and FreeIPMI"

# same_log: every record of the BMC, byte by byte, by ipmitool and by us.
same_log() {
    peer sel writeraw "$bed/sel.raw" >/dev/null
    ask log >"$bed/log.json" 2>/dev/null
    od -An -v -tx1 -w16 "$bed/sel.raw" | tr -d " " >"$bed/sel.peer"
    jq -r '.[0].entries[].sel_record' "$bed/log.json" >"$bed/sel.ours"
    [ -s "$bed/sel.peer" ] || fail "ipmitool reads an empty log"
    cmp -s "$bed/sel.peer" "$bed/sel.ours" || fail "the logs differ: $(diff "$bed/sel.peer" "$bed/sel.ours")"
}
echo '0x04 0x08 0x31 0x6f 0x03 0xff 0xff # a supply lost its input' >"$bed/event"
peer sel add "$bed/event" >/dev/null
same_log
# ipmitool signs as software, whose sensors are not the BMC's.
holds "what was added stands in the log with its words" \
    '.[0][0].entries | last | .severity == "critical" and .message == "power supply sensor 31h: input lost"' <"$bed/log.json"
last=$(jq -r '.[0].last_id' "$bed/log.json")
echo 150 >"$machine/bmc/temperature"
for _ in $(seq 20); do
    sleep 0.5
    new=$(ask log --since "$last" 2>/dev/null)
    if [ "$(jq '.[0].entries | length' <<<"$new")" -gt 0 ]; then break; fi
done
holds "a temperature that rose is the only news" \
    '.[0][0] | .since == "mark" and (.entries | length >= 1 and all(.message | contains("CPUTEMP1")))' <<<"$new"
same_log
read_sensors
compared=$(agree) || fail "the three do not read the same of a machine that is too hot: $compared"
jq -e '.[] | select(.name == "CPUTEMP1") | .value == 150 and .health == "critical"' "$bed/sensors.ours" >/dev/null || fail "150 degrees are fine"
note "event log: $(wc -l <"$bed/sel.ours") records, byte by byte; a fault is the news since the last one"

machine "$bed" node1 firmware=uefi port=swp1 bmc=10.77.1.11
discovered node1
load_machine node1
powered on
grep -q 'set boot pxe' "$machine/power.log" || fail "the daemon set no override"
[ "$(grep -c 'started from net' "$machine/power.log")" = 1 ] || fail "it did not start from the network once: $(cat "$machine/power.log")"
whole
