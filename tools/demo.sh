#!/bin/sh
# What `make demo` shows: a run of a flow, its result read back, and what to try next. With R the flow is in Python and R,
# and both read its result.
set -eu
cd -P "$(dirname "$0")/.."
python=.venv/bin/python

say() { printf '\n==> %s\n' "$*"; }

# Results belong to a user. Who has no name of their own, such as root, gets one here.
name=""
if ! $python -c 'import metaflow; metaflow.default_namespace()' 2>/dev/null; then
    export METAFLOW_USER=demo
    name="  export METAFLOW_USER=demo
"
fi

r_works() {
    $python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("rpy2"))' &&
        Rscript -e 'quit(status = !requireNamespace("metaflow", quietly = TRUE))' >/dev/null 2>&1
}

if r_works; then
    flow=PenguinsMixedFlow file=examples/penguins_mixed.py
    say "Running $file: cleaned in Python, fitted in R, reported in Python"
else
    flow=PenguinsFlow file=examples/penguins.py
    say "Running $file: three species, fitted side by side. R is not set up, so this is Python alone"
fi
$python $file run --tag demo

say "Reading the result back, as a notebook would"
# show LANGUAGE CODE COMMAND... shows the code, and what it prints.
show() {
    printf '\nIn %s:\n' "$1"
    code=$2; shift 2
    printf '%s\n' "$code" | sed 's/^/    /'
    echo
    "$@" "$code"
}
show Python "from metaflow import Flow
run = Flow('$flow').latest_run
print(run.data.summary)" $python -c
if [ $flow = PenguinsMixedFlow ]; then
    show R "library(metaflow)
run <- flow_client\$new('$flow')\$latest_run
run\$data\$summary
run\$data\$models\$Gentoo" Rscript -e
fi
run=$($python -c "from metaflow import Flow; print(Flow('$flow').latest_run.id)")

say "Try next"
cat <<END
$name  $python $file logs $run/start
  $python $file tag add --run-id $run promising_model
  $python $file resume join
END
if [ $flow = PenguinsMixedFlow ]; then echo "  Rscript examples/chicks.R run"; fi
