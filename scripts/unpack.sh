#!/bin/sh
# Make programs of a package available to the sandbox and the tests without touching the system.
#     unpack.sh PACKAGE VARIABLE ADVICE PROGRAM…    the last PROGRAM is what is looked for; VARIABLE may name it
# Found already: nothing to do. On Debian and Ubuntu: unpack the distribution's package into .sandbox/bin.
# Elsewhere: say in one line what to type. Safe to run again; says nothing when all is well.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bin="$root/.sandbox/bin"
package=$1 variable=$2 advice=$3
shift 3
for wanted in "$@"; do :; done

eval "named=\${$variable:-}"
if [ -n "$named" ] && [ -x "$named" ]; then exit 0; fi
if [ -x "$bin/$wanted" ] || command -v "$wanted" >/dev/null 2>&1; then exit 0; fi

give_up() {
    echo "$wanted is missing: $advice and set $variable to its binary" >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || give_up

work=$(mktemp -d)
log="$work/log"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
. "$root/scripts/apt.sh"

fetch() {
    (cd "$work" && apt-get -qq download "$package") && ls "$work/$package"_*.deb
}
with_lists fetch || give_up

dpkg-deb -x "$work/$package"_*.deb "$work/package"
mkdir -p "$bin"
# What is looked for last, and by rename: a run that is cut short leaves nothing that looks complete.
for program in "$@"; do
    cp "$work/package/usr/bin/$program" "$bin/.$program.part"
    mv -f "$bin/.$program.part" "$bin/$program"
done
