#!/bin/sh
# Make graphite-web, with whisper, available to the tests without touching the system: on Debian and Ubuntu the distribution's package, and those
# of what it needs that are not installed, unpacked into .sandbox/graphite. There it is run by the distribution's own Python, which may be one of them.
# CANARY_GRAPHITE may name a Python that has both already. Elsewhere: say in one line what to type. Safe to run again; says nothing when all is well.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
home="$root/.sandbox/graphite"
named=${CANARY_GRAPHITE:-}
if [ -n "$named" ] && [ -x "$named" ]; then exit 0; fi
if [ -d "$home" ]; then exit 0; fi

give_up() {
    echo "graphite-web is missing: install it, with whisper, for some Python and set CANARY_GRAPHITE to that one's binary" >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || give_up

work=$(mktemp -d)
log="$work/log"
trap 'rm -rf "$work" "$home.part"' EXIT
trap 'exit 130' INT TERM
. "$root/scripts/apt.sh"

fetch() {
    apt-get -qq --simulate --no-install-recommends install graphite-web >"$work/plan" &&
        missing=$(sed -n 's/^Inst \([^ ]*\) .*/\1/p' "$work/plan") &&
        (cd "$work" && apt-get -qq download graphite-web $missing)
}
with_lists fetch || give_up

rm -rf "$home.part"
mkdir -p "$home.part"
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$home.part"; done
mv "$home.part" "$home" # last: a run that is cut short leaves nothing that looks complete
