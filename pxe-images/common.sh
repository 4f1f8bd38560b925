# Shared by the image recipes: messages, the cache, Debian packages by version.
# Packages come from this machine's own apt sources; nothing here names a mirror.

say() { printf '%s: %s\n' "$(basename "$(dirname "$0")")" "$*" >&2; }
die() { say "$*"; exit 1; }

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${MUSTER_CACHE:-$repo/.build/cache}
mkdir -p "$cache"

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is not installed: tests/bed/install.sh installs all that the recipes need"
    done
}

# for_architecture amd64|arm64: what follows is about packages for this architecture. For another one than this machine's
# apt is given a root of its own, fed from this machine's sources, so that nothing here has to be configured.
foreign=""
for_architecture() {
    [ "$1" != "$(dpkg --print-architecture)" ] || return 0
    foreign=$1
    local root=$cache/apt-$1
    mkdir -p "$root"/state/lists/partial "$root"/cache/archives/partial
    touch "$root/state/status"
    cat >"$root/apt.conf" <<CONF
Dir::State "$root/state";
Dir::State::status "$root/state/status";
Dir::Cache "$root/cache";
APT::Architecture "$1";
APT::Architectures { "$1"; };
CONF
    export APT_CONFIG=$root/apt.conf
    # As new as this machine's own lists should be: a day.
    if [ -z "$(find "$root/updated" -mmin -1440 2>/dev/null)" ]; then
        say "asking for the package lists of $1"
        apt-get -q -o APT::Sandbox::User=root update >/dev/null && touch "$root/updated"
    fi
}

# The name of the kernel package that Debian's metapackage stands for today.
kernel_package() {
    apt-cache depends "linux-image-${foreign:-$(dpkg --print-architecture)}" |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ {print $2; exit}'
}

candidate() { apt-cache policy "$1" | awk '$1 == "Candidate:" && $2 != "(none)" {print $2}'; }

# unpacked PACKAGE: prints the folder with the package's files, downloading it once per version.
unpacked() {
    local package=$1 version dir work
    version=$(candidate "$package")
    [ -n "$version" ] || die "apt knows no package $package: run apt-get update, or enable Debian's main component"
    dir=$cache/unpacked/${package}_${version//:/%}${foreign:+_$foreign}
    if [ ! -d "$dir" ]; then
        work=$(mktemp -d "$cache/unpack.XXXXXX")
        say "downloading $package $version"
        (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package=$version" >/dev/null)
        dpkg-deb -x "$work"/*.deb "$work/tree"
        mkdir -p "$cache/unpacked"
        mv -T "$work/tree" "$dir" 2>/dev/null || [ -d "$dir" ]
        rm -rf "$work"
    fi
    printf '%s\n' "$dir"
}

# A dynamic program cannot start where there is no loader.
must_be_static() {
    ! readelf -lW "$1" 2>/dev/null | grep -q INTERP ||
        die "$1 is dynamically linked, but the boot image holds no libraries: build it with -C target-feature=+crt-static and --target ARCHITECTURE-unknown-linux-gnu"
}

sha() { sha256sum "$1" | cut -d' ' -f1; }
