#!/usr/bin/env bash
# A BMC that tells of something is visited before its time, which is an hour away here: what it sends to the address of a
# subscription that the daemon made, and what it tells by a stream that the daemon listens to. The BMC is our own simulator of
# Redfish: those of others that run here have no events.
. "$(dirname "$0")/lib/scenario.sh"
. "$(dirname "$0")/lib/redfish.sh"
at=http://10.77.1.11:8000/redfish/v1

prepare() {
    ways_in "$1" '["pxe"]'
    printf '\n[bmc]\nwatch-minutes = 60\nevents-to = "https://10.77.0.1:8444"\n' >>"$1/site/muster.toml"
}
inside() { ip netns exec "$NS" "$@"; }
figure() { curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
# comes FIGURE VALUE: that one comes to be, or more.
comes() {
    for _ in $(seq $((60 * patience))); do
        if [ "$(figure "$1")" -ge "$2" ]; then return 0; fi
        sleep 1
    done
    fail "$1 is $(figure "$1") and not $2"
}
told_of() { events node1 | jq -r '.kind | select(startswith("bmc-events"))' | paste -sd' '; }
# tells WORDS: what the log of node1 has of its events comes to be that.
tells() {
    for _ in $(seq $((60 * patience))); do
        if [ "$(told_of)" = "$1" ]; then return 0; fi
        sleep 1
    done
    fail "the log has of node1's events $(told_of)"
}
again() {
    end "$bed/pids/muster.pid"
    serve "$bed"
}
visited() { muster --output json machine bmc node1 | jq .visited; }
# subscriptions: where they go, as the BMC lists them to somebody who logs in there.
subscriptions() {
    local token path
    token=$(inside curl -si -d '{"UserName":"admin","Password":"secret"}' "$at/SessionService/Sessions" |
        tr -d '\r' | sed -n 's/^X-Auth-Token: //Ip')
    for path in $(inside curl -sf -H "X-Auth-Token: $token" "$at/EventService/Subscriptions" | jq -r '.Members[]."@odata.id"'); do
        inside curl -sf -H "X-Auth-Token: $token" "http://10.77.1.11:8000$path" | jq -r .Destination
    done
}
sends() { inside curl -s -o /dev/null -w '%{http_code}' --cacert "$MUSTER_CA" -d '{"Events": []}' "$1"; }

site
machine "$bed" node1 firmware=bios
redfish_bmc node1 events=subscriptions
again
tells bmc-events-subscribed
to=$(subscriptions)
[[ $to =~ ^https://10\.77\.0\.1:8444/bmc-events/[0-9a-f]{32}$ ]] || fail "the BMC sends its events to: $to"
before=$(visited)
[ "$(sends "${to%????}0000")" = 404 ] || fail "an address that no BMC was told is taken"
[ "$(sends "$to")" = 204 ] || fail "what the BMC sends is not taken"
comes muster_bmc_hinted_visits_total 1
for _ in $(seq $((30 * patience))); do
    [ "$(visited)" -le "$before" ] || break
    sleep 1
done
[ "$(visited)" -gt "$before" ] || fail "the BMC sent something and was not visited"
if { events node1; cat "$bed/muster.log"; } | grep -q "${to##*/}"; then fail "the address stands in a log"; fi
note "what the BMC sent to the address that it was told brought a visit forward by an hour"

sed -i '/^events-to/d' "$bed/site/muster.toml"
again
tells "bmc-events-subscribed bmc-events-unsubscribed"
[ -z "$(subscriptions)" ] || fail "the BMC sends its events still to: $(subscriptions)"
[ "$(sends "$to")" = 404 ] || fail "the address is taken still"
note "the setting is gone, and so is the subscription"

end "$bed/pids/redfish.pid"
: >"$bed/redfish.log"
redfish_bmc node1 events=stream
again
comes muster_bmc_event_streams 1
before=$(visited)
comes muster_bmc_hinted_visits_total 2
[ "$(visited)" -gt "$before" ] || fail "the BMC told of something and was not visited"
note "the BMC is listened to, and was visited for what it told"
whole
