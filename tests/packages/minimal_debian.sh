# A minimal Debian to install packages into, made by debootstrap once and kept in .cache, and the packages. Read by the tests
# beside it, which say who they are in $name.

minimal_debian_cache=.cache/debootstrap

skip() {
    if [ "${CI:-}" = true ]; then
        echo "$name: $1, which CI must have" >&2
        exit 1
    fi
    echo "$name: SKIPPED, THE DEBIAN PACKAGES ARE NOT TESTED: $1" >&2
    exit 0
}

need_root_and_debootstrap() {
    [ "$(id -u)" = 0 ] || skip "not root"
    command -v dpkg-deb >/dev/null && command -v apt-get >/dev/null || skip "not a Debian"
    unshare --mount --pid --net --fork true 2>/dev/null || skip "no namespaces can be made"
    command -v debootstrap >/dev/null && return
    [ "${CI:-}" = true ] || skip "debootstrap is not installed"
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends debootstrap </dev/null \
        >/dev/null || skip "debootstrap cannot be installed"
}

# Sets `packages` to the folder that is given, or to one into which it packs.
find_packages() {
    packages=${1:-dist}
    [ -n "${1:-}" ] || pack
}

pack() {
    local programs=${CARGO_TARGET_DIR:-target}/debug
    if [ -x "$programs/muster" ] && [ -x "$programs/muster-agent" ]; then
        scripts/package --profile dev --only deb --binaries "$programs"
    else
        scripts/package --profile dev --only deb
    fi
}

# Makes it if it is not there, in the working folder given.
make_minimal_debian() {
    local work=$1 suite
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    minimal_debian=$minimal_debian_cache/$suite-$(dpkg --print-architecture).tar
    if [ -f "$minimal_debian" ]; then return; fi
    echo "$name: making a minimal Debian $suite in $minimal_debian"
    mkdir -p "$minimal_debian_cache"
    # From where this machine has its own packages.
    timeout 600 debootstrap --variant=minbase "$suite" "$work/minimal" "$(mirror)" >"$work/debootstrap.log" 2>&1 ||
        { tail -5 "$work/debootstrap.log" >&2; skip "debootstrap failed"; }
    rm -rf "$work/minimal/var/cache/apt" "$work/minimal/var/lib/apt/lists"
    tar --create --file "$minimal_debian.partial" --directory "$work/minimal" .
    mv "$minimal_debian.partial" "$minimal_debian"
    rm -rf "$work/minimal"
}

# Unpacks it into a new folder.
unpack_minimal_debian() {
    mkdir -p "$1"
    tar --extract --file "$minimal_debian" --directory "$1"
}

mirror() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -1
}
