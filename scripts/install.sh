#!/bin/sh
# Install canary, the sandbox and what tests need into a virtual environment: `install.sh .venv/bin/python [options of pip]`.
#
# uv does in seconds what takes pip most of a minute. It reads none of pip's settings, so where pip was told of an index or of a way to
# it, and wherever uv is not to be had or fails, pip does it. Without --no-compile byte code is written at once.
set -u
cd "$(dirname -- "$0")/.." || exit 1
python=$1
shift

by_uv() {
    ! "$python" -m pip config list | grep -qE "\.(index-url|extra-index-url|no-index|proxy|trusted-host|client-cert)=" || return 1
    "$python" -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --constraint constraints.txt uv || return 1
    compile=--compile-bytecode
    case " $* " in *" --no-compile "*) compile= ;; esac
    # shellcheck disable=SC2086 # nothing at all where it is empty
    "$python" -m uv pip install --quiet --python "$python" $compile --constraint constraints.txt --editable '.[dev]' --editable ./sandbox
}

by_uv "$@" 2>/dev/null ||
    exec "$python" -m pip install --quiet --disable-pip-version-check "$@" --constraint constraints.txt \
        --editable '.[dev]' --editable ./sandbox
