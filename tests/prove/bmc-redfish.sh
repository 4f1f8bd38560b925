#!/usr/bin/env bash
# A Redfish BMC that is not ours: the emulator of OpenStack's sushy-tools, with QEMU behind it. What is read is what it serves,
# what is switched is switched at QEMU, and by its override the machine boots from the network into the agent, at the daemon's
# order. Its override stays after one boot, and that is seen and accepted only where its profile says so.
. "$(dirname "$0")/lib/scenario.sh"
emulator=$(tests/bed/sushy.sh) || { echo "sushy-tools does not install (python3-venv and a package index are needed)"; exit 77; }
timed "hand" cargo build --locked -p muster-tests --example bmc
HAND=${CARGO_TARGET_DIR:-$repo/target}/debug/examples/bmc
AT=http://10.77.1.11:8000

prepare() {
    sed -i "s|^bmc = .*|bmc = { protocol = \"redfish\", address = \"$AT\", user = \"admin\", password-file = \"bmc-password\" }|" \
        "$1/site/files/rack-layouts/demo/r1.toml"
    sed -i 's/^profile = "openipmi-sim"/profile = "sushy-tools"/' "$1/site/files/firmware-profiles/models/qemu-q35.toml"
}
inside() { ip netns exec "$NS" "$@"; }
ask() {
    local verb=$1
    shift
    inside "$MUSTER" --output json bmc "$verb" "$AT" --user admin --password-file "$bed/site/secrets/bmc-password" "$@"
}
hand() { inside env BMC_USER=admin BMC_PASSWORD=secret "$HAND" "$AT" "$@"; }
served() { inside curl -sf "$AT/redfish/v1/$1"; }
# powered on|off: by the BMC's word, whose reading is what lets a switch happen there, and then QEMU's process.
powered() {
    local until told=""
    until=$(($(date +%s) + 40 * patience))
    while [ "$(date +%s)" -lt "$until" ]; do
        told=$(ask power | jq -r '.[0].power')
        [ "$told" != "$1" ] || break
        sleep 1
    done
    [ "$told" = "$1" ] || fail "the BMC does not come to say $1 but ${told:-nothing}"
    case $1 in
        on) alive "$machine/qemu.pid" || fail "the BMC says on, and there is no QEMU" ;;
        off) ! alive "$machine/qemu.pid" || fail "the BMC says off, and QEMU runs" ;;
    esac
}

site
machine "$bed" node1 firmware=uefi
load_machine node1
mkdir -p "$bed/redfish"
cat >"$bed/redfish/emulator.conf" <<CONF
SUSHY_EMULATOR_LISTEN_IP = '10.77.1.11'
SUSHY_EMULATOR_LISTEN_PORT = 8000
SUSHY_EMULATOR_STATE_DIR = '$bed/redfish'
EXTERNAL_NOTIFICATION_URL = 'http://127.0.0.1:9999'
SUSHY_EMULATOR_FAKE_SYSTEMS = [{'uuid': '$UUID', 'name': 'node1', 'power_state': 'Off', 'external_notifier': True,
                                'nics': [{'mac': '$MAC', 'ip': '10.77.0.50'}]}]
CONF
launch "$bed/pids/notifier.pid" "$bed/redfish/notifier.log" ip netns exec "$NS" \
    "$repo/tests/prove/lib/notifier.py" "$bed_scripts/chassis.sh" "$bed" node1 9999
launch "$bed/pids/emulator.pid" "$bed/redfish/emulator.log" ip netns exec "$NS" "$emulator" --fake --config "$bed/redfish/emulator.conf"
for _ in $(seq $((30 * patience))); do
    if served "" >/dev/null; then break; fi
    sleep 1
done

ask inspect 2>/dev/null | tee "$bed/inspected.json" | holds "the machine is told as it is served" '.[0]
    | .uuid == $uuid and .power == "off" and .bmc.profile == null and [.nics[].mac] == [$mac]
    and ([.systems[].uuid] == [$uuid]) and (.fans | length == 2)' --arg uuid "$UUID" --arg mac "$MAC"
[ "$(jq -r .bmc.firmware "$bed/inspected.json")" = "$(served "Managers/$UUID" | jq -r .FirmwareVersion)" ] || fail "the BMC's version differs"
thermal=$(served "$(served "Systems/$UUID" | jq -r '.Links.Chassis[0]."@odata.id" | ltrimstr("/redfish/v1/")')/Thermal")
theirs=$(jq -c '[(.Temperatures[] | [.Name, .ReadingCelsius]), (.Fans[] | [.Name, .Reading])] | sort' <<<"$thermal")
ours=$(ask sensors | jq -c '[.[] | [.name, .value]] | sort')
[ "$ours" = "$theirs" ] && [ "$(jq length <<<"$ours")" -ge 4 ] || fail "sensors: it serves $theirs and we read $ours"
note "read: identity, ports, fans and $(jq length <<<"$ours") sensors, as they are served"

hand power on >/dev/null
powered on
hand power on | holds "what is on is left alone" '.[0].power == "AlreadySo"'
hand power reset >/dev/null
powered on
[ "$(switched node1 started)/$(switched node1 stopped)" = 2/1 ] || fail "a restart is off and on there: $(cat "$machine/power.log")"
if hand power cycle 2>"$bed/cycle"; then fail "a cycle was taken, which the BMC does not offer"; fi
grep -q 'PowerCycle' "$bed/cycle" || fail "the refused cycle is not named: $(cat "$bed/cycle")"
hand power off >/dev/null
powered off
note "power: on, restart and off were seen at QEMU; a cycle, which it does not list, is refused by name"

if hand boot pxe once 2>"$bed/once"; then fail "an override that stays was taken for one that does not"; fi
grep -q 'Continuous' "$bed/once" || fail "what stays is not named: $(cat "$bed/once")"
BMC_PROFILE=sushy-tools hand boot pxe once | holds "by its profile the override is what it can be" '.[0].boot | contains("Pxe")'
if BMC_PROFILE=sushy-tools hand boot none once 2>"$bed/none"; then fail "the BMC took no override at all, which it does not know"; fi
grep -q 'HTTP 400' "$bed/none" || fail "the refusal is not told: $(cat "$bed/none")"
BMC_PROFILE=sushy-tools hand boot disk lasting | holds "the disk is what takes it back" '.[0].boot | contains("Hdd")'
[ "$(cat "$machine/boot")" = default ] || fail "the override was not taken back at the chassis"
note "boot override: set, read back as one that stays; it has no word for none, and the disk takes it back"

# The daemon's own order: override, power, and real firmware that asks our boot server.
discovered node1 400
[[ $(grep ' started from' "$machine/power.log" | tail -n 1) == *net ]] && [ "$(grep -c 'started from net' "$machine/power.log")" = 1 ] ||
    fail "the machine did not start from the network, once: $(cat "$machine/power.log")"
heard_of node1 | holds "the firmware asked us, and the agent spoke" \
    'any(.[0][]; .kind == "script") and any(.[0][]; .kind == "agent")'
show node1 | holds "its serial number is the machine's own" '.[0].inventory.system.serial == "MUSTER0001"'
muster machine hold node1 --why "the proof is made" --yes >/dev/null
hand power off >/dev/null
powered off
whole
