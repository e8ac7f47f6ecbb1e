#!/usr/bin/env bash
# The Debian packages in a minimal Debian of their own: install, use, upgrade with data kept, remove, install again, purge;
# first without systemd, then with a systemctl that writes down what it is told.
#
#   tests/packages/deb.sh               packs the programs of the last debug build, and builds them if there are none
#   tests/packages/deb.sh dist          the .deb files that are in the folder
#
# The minimal Debian is made by debootstrap once and kept in .cache. All happens in a chroot with its own network, mounts and
# processes. Where root or debootstrap is missing it is skipped, which is said in one line; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

name=tests/packages/deb.sh
. tests/packages/minimal_debian.sh
checks=0
service_user=61234:61234

main() {
    if [ "${1:-}" = --inside ]; then
        inside "$2"
        return
    fi
    need_root_and_debootstrap
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    local packages=
    find_packages "$@"
    cp "$packages"/*.deb "$work/"
    make_next_versions
    unpack_root
    # Nothing of it outlives this command: processes end with the first one, mounts and network are its own.
    timeout --kill-after=5 150 \
        unshare --mount --pid --net --fork --kill-child "$PWD/tests/packages/deb.sh" --inside "$work"
    echo "$name: all passed in $SECONDS s"
}

# The same packages with a later version, and a comment more in the configuration that they bring.
make_next_versions() {
    local package tree
    for package in muster muster-agent; do
        mv "$work/${package}"_*.deb "$work/$package.deb"
        tree=$work/$package.next
        dpkg-deb --raw-extract "$work/$package.deb" "$tree"
        sed -i 's/^Version: .*/Version: 99.0-1/' "$tree/DEBIAN/control"
        if [ -f "$tree/etc/muster/muster.toml" ]; then echo "# of version 99" >>"$tree/etc/muster/muster.toml"; fi
        dpkg-deb --build --root-owner-group -Zgzip -z1 "$tree" "$work/$package.next.deb" >/dev/null
        rm -rf "$tree"
    done
}

unpack_root() {
    make_minimal_debian "$work"
    unpack_minimal_debian "$work/root"
    mkdir "$work/root/packages"
    mv "$work"/*.deb "$work/root/packages/"
}

# --- In the namespaces ---

inside() {
    root=$1/root
    log=$1/dpkg.log
    local environment=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive)
    enter=(chroot "$root" env -i "${environment[@]}")
    # systemd makes the collector's user.
    enter_as_service=(chroot --userspec="$service_user" "$root" env -i "${environment[@]}")
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    ip link set lo up 2>/dev/null || true
    echo "== without systemd"
    life_of_the_server
    life_of_the_agent
    echo "== with systemd"
    systemd_is_told
    echo "$checks checks passed"
}

life_of_the_server() {
    dpkg_says --install packages/muster.deb
    check "the program starts" in_root muster --version
    check "all its libraries are there" all_libraries muster
    check "the configuration that it brings is valid" in_root muster check-config
    check "that configuration is loopback alone" loopback_alone
    check "its man page and completions are there" in_root test -s /usr/share/man/man1/muster.1.gz \
        -a -s /usr/share/bash-completion/completions/muster -a -s /usr/share/zsh/vendor-completions/_muster
    check "so are the licences" in_root test -s /usr/share/doc/muster/copyright -a -s /usr/share/doc/muster/third-party-licences.txt.gz
    check "the unit is enabled" in_root test -L /etc/systemd/system/multi-user.target.wants/muster.service

    # As systemd has it for a unit with DynamicUser, which sees its folder there by a mount of its own.
    in_root mkdir -p -m 0755 /var/lib/private
    in_root install -d -m 0700 -o "${service_user%:*}" -g "${service_user#*:}" /var/lib/private/muster
    in_root ln -s private/muster /var/lib/muster
    check "no collector is running, and health says so" not_well
    check "a token is made" in_root muster token create --team platform
    check "the collector serves and stops" serve_once
    local before after
    before=$(fingerprint)
    in_root sed -i 's/^otlp_http_listen = .*/otlp_http_listen = "off"/' /etc/muster/muster.toml

    dpkg_says --install --force-confold packages/muster.next.deb
    after=$(fingerprint)
    check "the upgrade is installed" test "$(installed_version muster)" = 99.0-1
    check "an upgrade keeps the data, to the byte" test "$before" = "$after"
    check "and what the operator changed in the configuration" in_root grep -q '"off"' /etc/muster/muster.toml
    check "and puts the new one beside it" in_root grep -q 'version 99' /etc/muster/muster.toml.dpkg-dist
    check "the token is still known" token_is_listed
    check "the collector starts over the old data" serve_once
    before=$(fingerprint)

    dpkg_says --remove muster
    check "a removed program is gone" in_root test ! -e /usr/bin/muster
    check "removal keeps the data" test "$before" = "$(fingerprint)"
    check "and the configuration" in_root grep -q '"off"' /etc/muster/muster.toml

    dpkg_says --install packages/muster.next.deb
    check "installed again, it finds its data" token_is_listed
    check "and the unit is enabled again" in_root test -L /etc/systemd/system/multi-user.target.wants/muster.service

    in_root touch /etc/muster/newrelic.key
    dpkg_says --purge muster
    check "purge deletes the data" in_root test ! -e /var/lib/muster -a ! -L /var/lib/muster -a ! -e /var/lib/private/muster
    check "and says so" grep -q 'muster: deleting /var/lib/private/muster' "$log"
    check "and the configuration" in_root test ! -e /etc/muster/muster.toml
    check "but no file of somebody else, and says so" in_root test -e /etc/muster/newrelic.key
    check "(said)" grep -q '/etc/muster is kept' "$log"
    check "no link of the unit is left" no_links muster.service

    # The same with a plain folder, as a collector without systemd makes it.
    in_root rm -rf /etc/muster
    dpkg_says --install packages/muster.deb
    in_root muster token create --team platform >/dev/null
    dpkg_says --purge muster
    check "purge deletes a plain folder, too" in_root test ! -e /var/lib/muster -a ! -e /etc/muster
}

life_of_the_agent() {
    dpkg_says --install packages/muster-agent.deb
    check "the agent starts" in_root muster-agent --version
    check "all its libraries are there" all_libraries muster-agent
    check "its unit is one for users" in_root test -s /usr/lib/systemd/user/muster-agent.service
    check "which nobody has enabled" no_links muster-agent.service
    check "its man page and completions are there" in_root test -s /usr/share/man/man1/muster-agent.1.gz \
        -a -s /usr/share/bash-completion/completions/muster-agent
    check "no other file is outside /usr" test -z "$(in_root dpkg --listfiles muster-agent | grep -v '^/usr\|^/\.$' || true)"
    in_root mkdir -p /root/.local/state/muster/agent
    in_root touch /root/.local/state/muster/agent/spool
    dpkg_says --install packages/muster-agent.next.deb
    check "the upgrade is installed" test "$(installed_version muster-agent)" = 99.0-1
    dpkg_says --purge muster-agent
    check "purge touches nobody's home" in_root test -e /root/.local/state/muster/agent/spool
    check "and takes the program with it" in_root test ! -e /usr/bin/muster-agent -a ! -e /usr/lib/systemd/user/muster-agent.service
}

# systemd cannot run here: this tells what it would be asked for.
systemd_is_told() {
    local told=$root/told.log
    mkdir -p "$root/run/systemd/system"
    printf '#!/bin/sh\necho "$*" >>/told.log\ncase "$*" in *is-enabled*) echo enabled;; esac\n' >"$root/usr/bin/systemctl"
    chmod 755 "$root/usr/bin/systemctl"

    : >"$told"
    dpkg_says --install packages/muster.deb
    check "systemd reads the unit" grep -q daemon-reload "$told"
    check "and starts it" grep -qE '(^| )start .*muster\.service' "$told"
    : >"$told"
    dpkg_says --install packages/muster.next.deb
    check "an upgrade restarts it, when all is in place" grep -qE 'restart .*muster\.service' "$told"
    check "and does not stop it before" sh -c "! grep -qE '(^| )stop ' '$told'"
    : >"$told"
    dpkg_says --remove muster
    check "removal stops it" grep -qE '(^| )stop .*muster\.service' "$told"
    dpkg_says --purge muster
    : >"$told"
    dpkg_says --install packages/muster-agent.deb
    dpkg_says --purge muster-agent
    check "of the agent systemd is told nothing" sh -c "! grep -q muster-agent '$told'"
}

# --- Small steps ---

in_root() { "${enter[@]}" "$@"; }

dpkg_says() {
    in_root dpkg "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "FAILED: dpkg $*" >&2; exit 1; }
}

check() {
    local what=$1
    shift
    if "$@" >"$log.check" 2>&1; then
        checks=$((checks + 1))
        echo "  $what"
    else
        { echo "FAILED: $what: $*"; cat "$log.check"; } >&2
        exit 1
    fi
}

all_libraries() { in_root ldd "/usr/bin/$1" && ! in_root ldd "/usr/bin/$1" | grep 'not found'; }

loopback_alone() { ! in_root sed 's/#.*//' /etc/muster/muster.toml | grep '_listen' | grep -v '"127\.0\.0\.1:'; }

# The data without what is there only while something runs.
fingerprint() { (cd "$root/var/lib/private/muster" && find . -type f | sort | xargs sha256sum | sha256sum); }

installed_version() { in_root dpkg-query --show --showformat '${Version}' "$1"; }

not_well() { ! in_root muster health; }

token_is_listed() { in_root muster token list | grep -q platform; }

no_links() { ! in_root find /etc/systemd /var/lib/systemd -name "$1*" 2>/dev/null | grep .; }

# Runs the collector as systemd does, as a user of its own, until it says that it is ready, asks it, and stops it.
serve_once() {
    local output=$root/serve.log waited=0 pid
    : >"$output"
    # Not by a function, which would be a process between: the signal is for the collector.
    "${enter_as_service[@]}" muster serve --grpc-listen 127.0.0.1:0 --otlp-http-listen off >"$output" 2>&1 &
    pid=$!
    until grep -q '^ready ' "$output"; do
        sleep 0.1
        waited=$((waited + 1))
        if [ "$waited" -gt 200 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$output"
            return 1
        fi
    done
    in_root muster health --ready || return 1
    kill -TERM "$pid"
    wait "$pid"
}

main "$@"
