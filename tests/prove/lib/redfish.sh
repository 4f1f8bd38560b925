# A machine behind our own simulator of Redfish, in front of the bed's chassis: OpenIPMI's has neither virtual media nor UEFI
# HTTP boot. Sourced after scenario.sh by those who prove the ways into a machine.
# shellcheck shell=bash
cargo build --quiet --locked -p muster-tests --bin redfish-bmc
redfish=${CARGO_TARGET_DIR:-$repo/target}/debug/redfish-bmc
# Seconds until a boot of which nothing was seen is missed.
attempt=${ATTEMPT:-150}

# ways_in DIR WAYS: the model's, as its data file has them; the machine's BMC is the one below.
ways_in() {
    sed -i -e "s/^discover-seconds = .*/discover-seconds = $((attempt * patience))/" \
        -e "s/^\[boot\]/[boot]\nways = $2/" \
        -e 's/^profile = .*/profile = "redfish"/' "$1/site/files/firmware-profiles/models/qemu-q35.toml"
    sed -i 's|^bmc = .*|bmc = { protocol = "redfish", address = "http://10.77.1.11:8000", user = "admin", password-file = "bmc-password" }|' \
        "$1/site/files/rack-layouts/demo/r1.toml"
}

# redfish_bmc MACHINE [WORDS...]: starts it and waits until it listens.
redfish_bmc() {
    (
        load_machine "$1"
        launch "$bed/pids/redfish.pid" "$bed/redfish.log" ip netns exec "$NS" "$redfish" at=10.77.1.11:8000 \
            "chassis=$PWD/tests/bed/chassis.sh" "bed=$bed" "machine=$1" "serial=$SERIAL" "uuid=$UUID" "${@:2}"
    )
    for _ in $(seq 50); do
        ! grep -q ready "$bed/redfish.log" || return 0
        sleep 0.1
    done
    fail "the BMC does not listen: $(cat "$bed/redfish.log")"
}
leave() { [ ! -f "$bed/pids/redfish.pid" ] || end "$bed/pids/redfish.pid"; }

# goes_by MACHINE WAY: its next boot, once the one before was missed.
goes_by() {
    for _ in $(seq $(((attempt + 90) * patience))); do
        [ "$(show "$1" | jq -r .way.way)" != "$2" ] || break
        sleep 1
    done
}
