#!/bin/sh
# Make `prometheus` available to the sandbox without touching the system.
# Found already: nothing to do. On Debian and Ubuntu: unpack the distribution's package into .sandbox/bin.
# Elsewhere: say in one line what to type. Safe to run again; says nothing when all is well.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bin="$root/.sandbox/bin"

if [ -n "${CANARY_PROMETHEUS:-}" ] && [ -x "$CANARY_PROMETHEUS" ]; then exit 0; fi
if [ -x "$bin/prometheus" ] || command -v prometheus >/dev/null 2>&1; then exit 0; fi

give_up() {
    echo "prometheus is missing: type 'apt-get install prometheus' or 'brew install prometheus', or unpack a release from the Prometheus download page and set CANARY_PROMETHEUS to its binary" >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || give_up

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fetch() {
    (cd "$work" && apt-get -qq download prometheus) >"$work/log" 2>&1 && ls "$work"/prometheus_*.deb >/dev/null 2>&1
}

# Lists that are missing, or older than what the mirror still serves, need one update; only root may do that.
if ! fetch; then
    [ "$(id -u)" -eq 0 ] || give_up
    apt-get -qq update >"$work/log" 2>&1 || give_up
    fetch || give_up
fi

dpkg-deb -x "$work"/prometheus_*.deb "$work/package"
mkdir -p "$bin"
# promtool first, prometheus last and by rename: a run that is cut short leaves nothing that looks complete.
for program in promtool prometheus; do
    cp "$work/package/usr/bin/$program" "$bin/.$program.part"
    mv -f "$bin/.$program.part" "$bin/$program"
done
