#!/usr/bin/env bash
# Passwords of real BMCs (OpenIPMI's) are changed, and the daemon is killed at each step of that: at a datagram that its BMC
# never hears, and at one that it hears and whose answer is lost. Started again, it ends every change: what it has written down
# logs in, the password before does not, no login was tried until an account locks, and no password stands in the clear.
#
# Five are changed at once, as many as the daemon does; each stands at a step of its own when the daemon is killed. Of the
# questions for users' names, which are all alike, every twelfth is a step; of everything else each datagram is.
# limit: 3600
. "$(dirname "$0")/lib/scenario.sh"
bmcs=(node1 node2 node3 node4 node5)
factory=Kupfer-Draht-471
# More than the sixteen bytes that this BMC keeps of a new one; of the old one it leaves what stands behind them.
long=Kupfer-Draht-47110

# More machines beside the layout's. The daemon finds the relay where the layout has the BMCs of the five.
prepare() {
    local layout n
    layout=$(echo "$1"/site/files/rack-layouts/*/*.toml)
    for n in 2 3 4 5 6; do
        cat >>"$layout" <<MACHINE

[[machine]]
name = "node$n"
u = $((14 + n))
model = "qemu-q35"
serial = "MUSTER000$n"
bmc = { protocol = "ipmi", address = "10.77.1.1$n:623", user = "admin", password-file = "bmc-password" }
MACHINE
    done
    sed -i 's/"10\.77\.1\.\(1[1-5]\):623"/"10.77.2.\1:623"/; /10\.77\.1\.16/s/bmc-password/bmc-long/' "$layout"
    echo "$factory" >"$1/site/secrets/bmc-password"
    echo "$long" >"$1/site/secrets/bmc-long"
    chmod 600 "$1/site/secrets/bmc-long"
    printf '\n[bmc]\nwatch-minutes = 0\n' >>"$1/site/muster.toml"
}

# restarted MINUTES: the daemon anew, which reads its BMCs at its start and every so many minutes, or not at all.
restarted() {
    end "$bed/pids/muster.pid"
    sed -i "s/^watch-minutes = .*/watch-minutes = $1/" "$bed/site/muster.toml"
    serve "$bed"
}

takes() {
    local pid
    read -r pid _ <"$bed/pids/bmc-$1.pid"
    tests/prove/lib/takes.py "$pid" admin
}
# lets_in MACHINE PASSWORD: at the BMC itself, past the relay.
lets_in() {
    (load_machine "$1" && ip netns exec "$NS" ipmitool -I lanplus -C 3 -R 1 -N 1 -H "$BMC" -U admin -P "$2" mc info) >/dev/null 2>&1
}
# ends MACHINE: how its changes ended, one a line.
ends() { events "$1" | jq -r '.kind | select(test("^bmc-password-(changed|unchanged|unclear|restored)$"))'; }
at() { sed "s/^node/10.77.2.1/" <<<"$1"; }

# relayed STEP=WAY|"" ...: a relay in front of each machine's BMC, which stops at that step.
relayed() {
    local n lines=()
    for n in "${!bmcs[@]}"; do lines+=("10.77.2.1$((n + 1))=10.77.1.1$((n + 1))${1:+=$1}"); shift || true; done
    launch "$bed/pids/relay.pid" "$bed/relay.json" ip netns exec "$NS" tests/prove/lib/relay.py "$bed/pids/muster.pid" "${lines[@]}"
}
# told FILTER: of what the relay has said, if there is any.
told() { jq -se "$1" "$bed/relay.json" 2>/dev/null; }

# asked: new passwords for all five, from a daemon that has no session open.
asked() {
    local name
    : >"$bed/relay.json"
    for name in "${bmcs[@]}"; do
        before[$name]=$(takes "$name")
        changes[$name]=$(ends "$name" | wc -l)
    done
    # A daemon that dies at the first datagram may not have answered yet: what it had taken in shows by that datagram.
    muster machine change-bmc-password "${bmcs[@]}" --yes --output json >>"$bed/asked.log" 2>&1 || true
}

# settled WORDS: all five have ended, and are what the log says.
declare -A before changes
most=0
settled() {
    local name until now refused
    until=$(($(date +%s) + 120 * patience))
    for name in "${bmcs[@]}"; do
        while [ "$(ends "$name" | wc -l)" -le "${changes[$name]}" ]; do
            [ "$(date +%s)" -lt "$until" ] || fail "$1: $name's password is not settled: $(show "$name" | jq -c .) $(tickets | jq -c .)"
            sleep 0.2
        done
        [ "$(ends "$name" | tail -n +$((changes[$name] + 1)))" = bmc-password-changed ] ||
            fail "$1: of a BMC that is well the log says $(ends "$name" | tail -n 1): $(tickets | jq -c .)"
        now=$(takes "$name")
        [ "$now" != "${before[$name]}" ] || fail "$1: the log says that $name's password was changed, and its BMC has the one before"
        if lets_in "$name" "${before[$name]}"; then fail "$1: $name takes the password before"; fi
        lets_in "$name" "$now" || fail "$1: $name takes neither"
        echo "$now" >>"$bed/passwords"
        refused=$(told "[.[] | select(.bmc == \"$(at "$name")\" and .refused)] | length") || true
        [ "$refused" -le 2 ] || fail "$1: $refused logins failed at $name: an account may be locked by that"
        [ "$refused" -le "$most" ] || most=$refused
    done
    tickets | holds "nobody has to do anything" '.[0] == []'
}

# read_with_it WORDS: a daemon that was started anew logs in at all five with what is written down, and reads their power.
read_with_it() {
    local name since
    since=$(date +%s%3N)
    restarted 60
    for name in "${bmcs[@]}"; do
        for _ in $(seq $((100 * patience))); do
            if muster --output json machine bmc "$name" | jq -e ".visited >= $since" >/dev/null; then break; fi
            sleep 0.2
        done
        muster --output json machine bmc "$name" |
            holds "$1: $name's power is read with what is written down" \
                '.[0] | .visited >= $since and .reach == "answers" and .power == "off"' --argjson since "$since"
    done
    restarted 0
}

site
printf '%s\n' "$factory" "$long" >"$bed/passwords"
for name in "${bmcs[@]}"; do
    ip -n "$NS" addr add "$(at "$name")/32" dev lo
    machine "$bed" "$name" firmware=bios "serial=MUSTER000${name#node}" "bmc_password=$factory"
done
machine "$bed" node6 firmware=bios serial=MUSTER0006 "bmc_password=$long"

relayed
asked
settled "unharmed"
kinds=$(told '[.[] | select(.kind)] | group_by(.bmc) | map(map(.kind))')
holds "five changes are made of the same steps" '.[0] | length == 5 and (unique | length) == 1' <<<"$kinds"
kinds=$(jq -c '.[0]' <<<"$kinds")
read_with_it "unharmed"
note "unharmed: $(jq -r '"\(length) steps, " + ([group_by(.)[] | "\(length) \(.[0])"] | join(", "))' <<<"$kinds")"

# Each step both ways; the very last is also answered.
mapfile -t walk < <(jq -r '. as $kinds | range(1; length + 1) |
    select(. % 12 == 0 or any($kinds[([. - 3, 0] | max):. + 2][]; . != "command")) | "\(.)=lost", "\(.)=unanswered",
    (select(. == ($kinds | length)) | "\(.)=answered")' <<<"$kinds")
kills=0
for ((from = 0; from < ${#walk[@]}; from += ${#bmcs[@]})); do
    here=("${walk[@]:from:${#bmcs[@]}}")
    words=$(for one in "${here[@]}"; do jq -r ".[${one%=*} - 1] + \" ${one/=/ }\"" <<<"$kinds"; done | paste -sd,)
    end "$bed/pids/relay.pid"
    relayed "${here[@]}"
    asked
    for _ in $(seq $((300 * patience))); do
        if told 'any(.killed)' >/dev/null; then break; fi
        sleep 0.1
    done
    told 'any(.killed)' >/dev/null || fail "$words: not all came to that step: $(told '[.[] | select(.stopped)]')"
    while alive "$bed/pids/muster.pid"; do sleep 0.01; done
    kills=$((kills + 1))
    read -r pid _ <"$bed/pids/relay.pid"
    kill -USR1 "$pid"
    serve "$bed"
    settled "$words"
    read_with_it "$words"
    note "kill $kills: $words"
done
note "the daemon died $kills times, with changes at ${#walk[@]} of $((2 * $(jq length <<<"$kinds") + 1)) places"
note "each ended with a password that is written down; at most $most login(s) failed at a BMC"

if muster machine change-bmc-password node6 --yes >"$bed/long.out" 2>&1; then fail "a BMC that keeps half of it has a new password"; fi
grep -q 'at most 16 bytes' "$bed/long.out" || fail "nobody says why node6 keeps its password: $(cat "$bed/long.out")"
[ "$(ends node6)" = bmc-password-unchanged ] || fail "the log says of node6: $(ends node6)"
lets_in node6 "$long" || fail "node6 is said to keep its password, and does not take it"
tickets | holds "nobody has to do anything" '.[0] == []'
note "a BMC that would lock everybody out keeps its password, and it is said why"

whole
{
    cat "$bed/muster.log"
    for name in "${bmcs[@]}" node6; do show "$name"; events "$name"; muster --output json machine bmc "$name"; done
    tickets
    curl -sf --cacert "$MUSTER_CA" "$MUSTER_SERVER/metrics"
    after=0
    while page=$(curl -sf --cacert "$MUSTER_CA" -H "Authorization: Bearer $(cat "$MUSTER_TOKEN_FILE")" \
        "$MUSTER_SERVER/api/v1/log?after=$after&limit=1000") &&
        [ "$(jq length <<<"$page")" -gt 0 ]; do
        after=$(jq '.[-1].seq' <<<"$page")
        echo "$page"
    done
} >"$bed/said"
# A search that cannot find finds nothing.
grep -qFf "$bed/passwords" "$bed/site/secrets/bmc-password" || fail "the search does not find the password of the file"
if grep -rlFf "$bed/passwords" "$bed/said" "$bed/site/data"; then fail "a password stands in the clear"; fi
note "$(sort -u "$bed/passwords" | wc -l) passwords, and none of them in the daemon's log, its answers or its database"
