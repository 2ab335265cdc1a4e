#!/bin/sh
# Makes .venv with what is named: `tools/setup.sh run` for running flows, `tools/setup.sh dev` for tests and tools too.
# System packages that are missing are installed with apt-get where there is a right to do so.
set -eu
cd -P "$(dirname "$0")/.."

case ${1:-} in
    run) extras=pandas ;;
    dev) extras=dev ;;
    *) echo "usage: tools/setup.sh run|dev" >&2; exit 2 ;;
esac

say() { echo "==> $*"; }
fail() { echo "make setup: $*" >&2; exit 1; }

# --- system packages -------------------------------------------------------------------------------------------------

if [ "$(id -u)" = 0 ]; then as_root=""
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else as_root=no; fi

# system_packages PURPOSE PACKAGE...
system_packages() {
    purpose=$1; shift
    command -v apt-get >/dev/null || fail "$purpose is missing. Install it with your system's package manager, then repeat."
    [ "$as_root" != no ] || fail "$purpose is missing, and installing it needs root. Run this, then repeat:
    sudo apt-get install -y $*"
    say "Installing $purpose: $*"
    # The list of packages may be missing or old: only then is it fetched.
    install="apt-get install -y --no-install-recommends $*"
    logged $as_root env DEBIAN_FRONTEND=noninteractive sh -c "$install || { apt-get update && $install; }"
}

# Runs a command with its output in a log, which is shown if it fails.
logged() {
    "$@" </dev/null >"$log" 2>&1 || {
        status=$?
        cat "$log" >&2
        fail "this failed with status $status: $*"
    }
}
log=$(mktemp "${TMPDIR:-/tmp}/metaflow-setup.XXXXXX")
trap 'rm -f "$log"' EXIT

# --- Python ----------------------------------------------------------------------------------------------------------

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

find_python() {
    for candidate in python3.11 python3 python3.13 python3.12 python3.10; do
        if new_enough "$candidate"; then python=$candidate; return; fi
    done
    return 1
}

if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of version 3.10 or newer."
    python=$PYTHON
elif ! find_python; then
    system_packages "Python 3" python3 python3-venv
    find_python || fail "no Python of version 3.10 or newer was found. Set PYTHON=/path/to/python3 to name one."
fi
has_venv() { "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; }
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
has_venv || system_packages "Python's venv module" "python$version-venv"
has_venv || fail "$python still has no venv module. Set PYTHON=/path/to/python3 to name another Python."

# --- the environment -------------------------------------------------------------------------------------------------

# An environment can't be moved: made elsewhere, its scripts start a Python that may be gone.
usable() {
    [ "$(.venv/bin/python -c 'import pip, sys; print(sys.prefix)' 2>/dev/null)" = "$PWD/.venv" ] &&
        head -n 3 .venv/bin/pip | grep -qF "$PWD/.venv/bin/python"
}
if ! usable; then
    say "Making .venv with $("$python" --version)"
    logged "$python" -m venv --clear .venv
fi

pip() {
    logged .venv/bin/python -m pip --no-input --disable-pip-version-check install --no-compile -c constraints.txt "$@"
}
say "Installing Python packages ($extras)"
pip hatchling editables
pip --no-build-isolation -e ".[$extras]"

say "Compiling"
compile() { .venv/bin/python -m compileall -q "$@" .venv/lib/python*/site-packages core python plugins >/dev/null 2>&1; }
# In parallel where shared memory is to be had. Some packages ship files that are not meant to compile.
compile -j 0 || compile || true
