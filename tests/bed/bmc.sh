#!/bin/bash
# bmc.sh BED NAME: the machine's BMC. ipmi_sim asks chassis.sh about power and boot device, speaks KCS to the guest
# (so the agent finds /dev/ipmi0) and passes the serial console on (Serial over LAN).
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
load_bed "$1"
load_machine "$2"
# Ports of the simulator inside the namespace; no other bed sees them.
kcs=$((9100 + NUMBER)) sol=$((9300 + NUMBER))
state=$machine/bmc
mkdir -p "$state"
printf 'KCS_PORT=%s\nSOL_PORT=%s\n' $kcs $sol >>"$machine/machine.env"
[ -f "$state/temperature" ] || echo 64 >"$state/temperature"

cat >"$state/lan.conf" <<CONF
name "$NAME"
set_working_mc 0x20
  startlan 1
    addr $BMC 623
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid ${UUID//-/}
    lan_config_program "$bed_scripts/lan.sh $bed $NAME"
  endlan
  chassis_control "$bed_scripts/chassis.sh $bed $NAME"
  serial 15 127.0.0.1 $kcs codec VM
  sol "telnet:127.0.0.1:$sol" 115200
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "$BMC_USER" "$BMC_PASSWORD" admin 10 none md2 md5 straight
CONF
# One processor temperature; to inject a fault, write another number (0-255) into the file.
cat >"$state/bmc.emu" <<EMU
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
sensor_add 0x20 0 1 1 1 poll 1000 file "$state/temperature"
sensor_set_value 0x20 0 1 0x40 0
sensor_set_threshold 0x20 0 1 settable 111000 0xa0 0x90 0x70 00 00 00
sensor_set_event_support 0x20 0 1 enable scanning per-state 000111111000000 000111111000000 000111111000000 000111111000000
main_sdr_add 0x20 0x00 0x00 0x51 0x01 0x33 0x20 0x00 0x01 0x03 0x01 0x67 0x68 0x01 0x01 0x80 0x0a 0x80 0x7a 0x38 0x38 0x00 0x01 0x00 0x00 0x01 0x00 0x00 0x00 0x00 0x00 0x00 0x30 0x60 0x10 0xff 0x00 0xa0 0x90 0x70 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0xc8 0x43 0x50 0x55 0x54 0x45 0x4d 0x50 0x31
EMU
if [ -n "$BMC_MORE" ]; then cat "$BMC_MORE" >>"$state/bmc.emu"; fi
echo "mc_enable 0x20" >>"$state/bmc.emu"
launch "$bed/pids/bmc-$NAME.pid" "$state/log" ip netns exec "$NS" ipmi_sim -n -c "$state/lan.conf" -f "$state/bmc.emu" -s "$state"

# A slip in its files stops ipmi_sim without a word, so that the open port is the only sign of life.
for _ in $(seq 50); do
    if ip netns exec "$NS" ipmitool -I lanplus -C 3 -R 1 -N 1 -H "$BMC" -U "$BMC_USER" -P "$BMC_PASSWORD" mc guid >/dev/null 2>&1; then exit 0; fi
    alive "$bed/pids/bmc-$NAME.pid" || break
    sleep 0.1
done
die "the BMC of $NAME did not come up: see $state/log"
