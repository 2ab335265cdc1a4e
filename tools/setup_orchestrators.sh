#!/bin/sh
# Makes what the tests of orchestrators need and .venv can't hold, below .venv/orchestrators.
# What is there already, and was made from the same list of versions, is left as it is.
set -eu
cd -P "$(dirname "$0")/.."
place=.venv/orchestrators
mkdir -p "$place"

say() { echo "==> $*"; }

# --- Airflow, whose requirements do not go with ours -----------------------------------------------------------------

# airflow MAJOR: the versions are those of tools/orchestrators/airflowMAJOR.txt
airflow() {
    list=tools/orchestrators/airflow$1.txt
    folder=$place/airflow$1
    if cmp -s "$list" "$folder/made-from.txt"; then return; fi
    if [ "$1" = 2 ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
        say "Airflow 2 does not run on this Python: its test is skipped"
        return
    fi
    say "Installing $(grep '^apache-airflow==' "$list") into $folder"
    rm -rf "$folder"
    export UV_SYSTEM_CERTS=1
    .venv/bin/uv venv -q --python .venv/bin/python "$folder"
    .venv/bin/uv pip install -q --python "$folder/bin/python" -r "$list"
    cp "$list" "$folder/made-from.txt"
}

airflow 3
airflow 2

# --- AWS Step Functions: the linter of state machines ------------------------------------------------------------------

tools/npm_install.sh asl-validator@4.0.0 "$place/asl"
