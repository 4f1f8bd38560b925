#!/usr/bin/env bash
# The daemon is stopped; a machine in service that tries the network first still reaches its own disk, and reports there
# when the daemon is back.
. "$(dirname "$0")/lib/scenario.sh"

site
machine "$bed" node1 firmware=bios
log=$bed/machines/node1/serial.log
discovered node1
ordered node1
served node1
logins() { grep -ac 'login:' "$log" || true; }
bmc node1 chassis power off
for _ in $(seq 30); do if [ "$(switched node1 stopped)" -ge 1 ]; then break; fi; sleep 1; done
end "$bed/pids/muster.pid"
before=$(logins)
bmc node1 chassis bootdev pxe
bmc node1 chassis power on
grep -q 'started from net$' <(tail -n 5 "$bed/machines/node1/power.log") || fail "the machine did not try the network first"
note "the daemon is away, the machine asks the network"
for _ in $(seq 400); do
    if [ "$(logins)" -gt "$before" ]; then break; fi
    sleep 1
done
[ "$(logins)" -gt "$before" ] || fail "no login prompt from its own disk: $(tail -c 600 "$log")"
note "it stands at its own login prompt"
asked=$(date +%s)000
serve "$bed"
for _ in $(seq 180); do
    if show node1 | jq -e --argjson since "$asked" '.agent.mode == "resident" and .agent["seen-at"] >= $since' >/dev/null 2>&1; then break; fi
    sleep 1
done
show node1 | holds "it is in service as before, and spoke to the new daemon" \
    '.[0] | .summary.state == "in-service" and .agent.mode == "resident"'
whole
