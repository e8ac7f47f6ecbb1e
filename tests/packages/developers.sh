#!/usr/bin/env bash
# A team's machines from packages: a minimal Debian for the collector with its package installed, one for each of two developers
# with the agent's, each with a network of its own; then tests/developers.rs in them: enrol, watch, lose the network, revoke one.
#
#   tests/packages/developers.sh            packs the programs of the last debug build, and builds them if there are none
#   tests/packages/developers.sh dist       the .deb files that are in the folder
#   MUSTER_LONG=1 tests/packages/developers.sh    the network is away for more than a minute
#
# Where root or debootstrap is missing it is skipped, which is said in one line; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

name=tests/packages/developers.sh
. tests/packages/minimal_debian.sh

main() {
    need_root_and_debootstrap
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    local packages=
    find_packages "$@"
    make_minimal_debian "$work"
    machine collector "$packages"/muster_*.deb
    machine ada "$packages"/muster-agent_*.deb
    machine bob "$packages"/muster-agent_*.deb
    MUSTER_TEST_ROOTS="$work" cargo test --workspace --locked --test developers -- --nocapture
    echo "$name: passed in $SECONDS s"
}

machine() {
    local root=$work/$1
    unpack_minimal_debian "$root"
    cp "$2" "$root/package.deb"
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        dpkg --install /package.deb >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; exit 1; }
    echo "$name: $1 has $(basename "$2")"
}

main "$@"
