#!/bin/sh
# Makes .venv with what is named: `tools/setup.sh run` for running flows, `tools/setup.sh dev` for tests and tools too.
# System packages that are missing are installed with apt-get where there is a right to do so. Without R, and without the
# right to install it, flows in Python work all the same.
set -eu
cd -P "$(dirname "$0")/.."

r_packages="r-base-core r-cran-cli r-cran-magrittr r-cran-rlang"
r_tests=""
case ${1:-} in
    run) extras=pandas ;;
    dev)
        extras=dev
        r_tests="r-cran-bit64 r-cran-data.table r-cran-dplyr r-cran-hms r-cran-irkernel r-cran-knitr r-cran-lintr"
        r_tests="$r_tests r-cran-matrix r-cran-pkgload r-cran-reticulate r-cran-roxygen2 r-cran-testthat r-cran-tibble"
        r_tests="$r_tests r-cran-withr"
        ;;
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

# Microsoft's emulator of Azure's storage, which only tests use.
if [ "$extras" = dev ]; then
    tools/npm_install.sh azurite@3.37.0 .venv/azurite || say "Tests of Azure will be skipped: Azurite was not installed."
fi

# --- R ---------------------------------------------------------------------------------------------------------------

# What of these packages of Debian's R does not have.
missing_in_r() {
    if ! command -v Rscript >/dev/null; then echo "$@"; return; fi
    for package in "$@"; do
        case $package in
            r-cran-*) dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
                Rscript --vanilla -e "names <- tolower(rownames(installed.packages()))
                    quit(status = !('${package#r-cran-}' %in% names))" >/dev/null 2>&1 || echo "$package" ;;
        esac
    done | tr '\n' ' '
}

# What rpy2 is built with: compiler, headers of Python and of R. A Python of its own prefix brings its headers along.
missing_for_rpy2() {
    .venv/bin/python -c 'import rpy2.rinterface' >/dev/null 2>&1 && return
    dpkg-query -W -f '${Status}' r-base-dev 2>/dev/null | grep -q "ok installed" || echo r-base-dev
    [ -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || echo "python$version-dev"
}

# What only tests need: the locales that some of them make, a database server that they start by themselves, and git,
# to which they compare what we do without it.
missing_for_tests() {
    [ -n "$r_tests" ] || return 0
    command -v git >/dev/null || echo git
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql
    # shellcheck disable=SC2086
    missing_in_r $r_tests
    [ -e /usr/share/i18n/locales/de_DE ] || echo locales
}

set_up_r() {
    # shellcheck disable=SC2046,SC2086
    wanted=$(echo $(missing_in_r $r_packages) $(missing_for_rpy2))
    # shellcheck disable=SC2046
    for_tests=$(echo $(missing_for_tests))
    if [ "$as_root" = no ] || ! command -v apt-get >/dev/null; then
        if [ -n "$wanted" ]; then
            say "R is left out, because installing it needs root. Flows in R need this, and \`make setup\` again:
    sudo apt-get install -y $wanted"
            return
        elif [ -n "$for_tests" ]; then
            say "Some tests will be skipped, because installing what they need needs root:
    sudo apt-get install -y $for_tests"
        fi
    elif [ -n "$wanted$for_tests" ]; then
        # shellcheck disable=SC2086
        system_packages "R" $wanted $for_tests
    fi
    say "Installing rpy2 and the R package"
    # rpy2 3.6.5 and later need R 4.5.
    if Rscript --vanilla -e 'quit(status = getRversion() >= "4.5")'; then
        pip rpy2==3.6.4 rpy2-rinterface==3.6.5 rpy2-robjects==3.6.4
    else
        pip "rpy2>=3.6.5"
    fi
    library=$(Rscript --vanilla -e 'l <- c(.libPaths(), Sys.getenv("R_LIBS_USER")); cat(l[file.access(l, 2) == 0][1])')
    if [ "$library" = NA ]; then
        library=$(Rscript --vanilla -e 'cat(path.expand(strsplit(Sys.getenv("R_LIBS_USER"), ":")[[1]][1]))')
        mkdir -p "$library"
    fi
    logged R CMD INSTALL --no-test-load --library="$library" .
    # An R session finds this Python, whatever its environment.
    echo "$PWD/.venv/bin/python" >"$library/metaflow/python.txt"
}
set_up_r

say "Compiling"
compile() { .venv/bin/python -m compileall -q "$@" .venv/lib/python*/site-packages core python plugins >/dev/null 2>&1; }
# In parallel where shared memory is to be had. Some packages ship files that are not meant to compile.
compile -j 0 || compile || true
