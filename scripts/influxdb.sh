#!/bin/sh
# Make `influxd` available to the tests without touching the system.
# Found already: nothing to do. On Debian and Ubuntu: unpack the distribution's package into .sandbox/bin.
# Elsewhere: say in one line what to type. Safe to run again; says nothing when all is well.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bin="$root/.sandbox/bin"

if [ -n "${CANARY_INFLUXD:-}" ] && [ -x "$CANARY_INFLUXD" ]; then exit 0; fi
if [ -x "$bin/influxd" ] || command -v influxd >/dev/null 2>&1; then exit 0; fi

give_up() {
    echo "influxd is missing: unpack a 1.x release of InfluxDB and set CANARY_INFLUXD to its binary" >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || give_up

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fetch() {
    (cd "$work" && apt-get -qq download influxdb) >"$work/log" 2>&1 && ls "$work"/influxdb_*.deb >/dev/null 2>&1
}

# Lists that are missing, or older than what the mirror still serves, need one update; only root may do that.
if ! fetch; then
    [ "$(id -u)" -eq 0 ] || give_up
    apt-get -qq update >"$work/log" 2>&1 || give_up
    fetch || give_up
fi

dpkg-deb -x "$work"/influxdb_*.deb "$work/package"
mkdir -p "$bin"
# By rename: a run that is cut short leaves nothing that looks complete.
cp "$work/package/usr/bin/influxd" "$bin/.influxd.part"
mv -f "$bin/.influxd.part" "$bin/influxd"
