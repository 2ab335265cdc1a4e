#!/bin/sh
# Checks the R package: its style, its manual pages, and R CMD check with the examples; errors and warnings fail.
# `tools/check_r.sh --no-tests` leaves the tests out, which `make test` runs too.
set -eu
cd -P "$(dirname "$0")/.."
root=$(pwd -P)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/metaflow-check.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
fail() { echo "make check-r: $*" >&2; exit 1; }

for package in lintr roxygen2 pkgload; do
    Rscript -e "quit(status = !requireNamespace('$package', quietly = TRUE))" ||
        fail "the R package $package is missing: apt-get install r-cran-$package"
done

echo "==> lintr"
Rscript -e 'found <- lintr::lint_package(); print(found); quit(status = length(found) > 0L)' ||
    fail "lintr has remarks, see above."

mkdir "$scratch/home" "$scratch/checkout"
cp -R DESCRIPTION NAMESPACE LICENSE .Rbuildignore R man tests "$scratch/checkout"
cd "$scratch"
export METAFLOW_PYTHON="${METAFLOW_PYTHON:-$root/.venv/bin/python}" METAFLOW_USER=tester HOME="$scratch/home"

echo "==> roxygen2"
Rscript -e 'roxygen2::roxygenise("checkout")' >roxygen.log 2>&1 || { cat roxygen.log >&2; fail "roxygen2 failed."; }
for made in man NAMESPACE DESCRIPTION; do
    diff -r "$root/$made" "checkout/$made" || fail "$made is not what roxygen2 makes: Rscript -e 'roxygen2::roxygenise()'"
done

echo "==> R CMD check"
R CMD build --no-build-vignettes checkout >build.log 2>&1 || { cat build.log >&2; fail "R CMD build failed."; }
# Packages that are only suggested need not be there.
_R_CHECK_FORCE_SUGGESTS_=false \
    R CMD check --no-manual --run-donttest "$@" metaflow_*.tar.gz >check.log 2>&1 || { cat check.log >&2; fail "R CMD check failed."; }
if grep -q '^Status:.*\(ERROR\|WARNING\)' check.log; then cat check.log >&2; fail "R CMD check warns."; fi
grep '^Status:' check.log
