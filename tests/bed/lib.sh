# Shared by the bed's scripts. A bed is one folder: everything it starts, writes and remembers is in there.
#
#   DIR/bed.env                 NS, SERVER, API_SERVER, ACCEL, ...
#   DIR/pids/*.pid              what the bed started, except QEMU
#   DIR/machines/NAME/          machine.env, power.log, serial.log, disks, firmware variables, BMC

bed_scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bed_repo=$(cd "$bed_scripts/../.." && pwd)
bed_cache=${MUSTER_CACHE:-$bed_repo/.build/cache}

say() { printf 'bed: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# alive FILE: the process whose id is in FILE runs. It is known by its start time, so that a recycled id is nobody of ours. One
# that was killed is gone with its last thread: until then it holds its locks.
started() { awk '{sub(/.*\) /, ""); print $20}' "/proc/$1/stat" 2>/dev/null; }
remember() { printf '%s %s\n' "$2" "$(started "$2")" >"$1"; }
alive() {
    local pid since
    read -r pid since 2>/dev/null <"$1" || return 1
    [ -n "$since" ] && [ "$(started "$pid")" = "$since" ] &&
        ! awk '/^State:/ { dead = $2 == "Z" } /^Threads:/ { exit !(dead && $2 < 2) }' "/proc/$pid/status" 2>/dev/null
}

# end FILE: asks, waits, insists.
end() {
    local pid i
    if alive "$1"; then
        read -r pid _ <"$1"
        kill "$pid" 2>/dev/null || true
        for i in $(seq 50); do
            alive "$1" || break
            [ "$i" != 40 ] || kill -9 "$pid" 2>/dev/null || true
            sleep 0.1
        done
    fi
    rm -f "$1"
}

# launch PIDFILE LOG COMMAND...: in the background, deaf to our terminal, holding none of our descriptors.
launch() {
    local file=$1 log=$2
    shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
    remember "$file" $!
    disown
}

load_bed() {
    bed=$1
    [ -f "$bed/bed.env" ] || die "no bed in $bed: bed.sh up $bed"
    . "$bed/bed.env"
}

load_machine() {
    machine=$bed/machines/$1
    [ -f "$machine/machine.env" ] || die "no machine $1 in $bed: bed.sh add $bed $1"
    . "$machine/machine.env"
}

# qmp COMMAND...: one JSON command a word, on the machine's control socket.
qmp() {
    local command
    { echo '{"execute":"qmp_capabilities"}'; for command in "$@"; do echo "$command"; done; } |
        socat -t 2 - "UNIX-CONNECT:$machine/qmp.sock,retry=50,interval=0.1" >>"$machine/qmp.log" 2>&1
}
