# `make help` lists the targets. Each installs first what it needs and lacks.

SHELL = /bin/sh
.SUFFIXES:
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL = help

bin = .venv/bin
inputs = pyproject.toml constraints.txt tools/setup.sh core/metaflow_core/__init__.py $(wildcard DESCRIPTION NAMESPACE R/*.R)

.PHONY: setup demo test test-orchestrators bench chaos lint check-r docs compat clean help

# Stamps: an environment is made again when one of its inputs is newer. The larger one serves for the smaller one too.
# They hold the path of the checkout, because an environment can't be moved.
$(shell [ "$$(cat .venv/.run 2>/dev/null)" = "$$(pwd -P)" ] || rm -f .venv/.run .venv/.dev)

.venv/.run: $(inputs)
	@tools/setup.sh run && pwd -P > $@

.venv/.dev: $(inputs)
	@tools/setup.sh dev && pwd -P > .venv/.run && touch $@

setup: .venv/.run ## Make .venv, with bin/python and bin/metaflow
	@echo "Ready: $(bin)/python, $(bin)/metaflow"

demo: .venv/.run ## Run an example in Python and R, and read its result
	@tools/demo.sh

test: .venv/.dev ## Run the tests; ARGS="tests/python -k resume" selects
	@echo "==> Testing"
	@$(bin)/python -m pytest -n auto -m "not orchestrators" $(ARGS)

test-orchestrators: .venv/.dev ## Run flows on real orchestrators, for half an hour; ARGS="-k airflow" selects
	@tools/setup_orchestrators.sh
	@echo "==> Testing orchestrators"
	@$(bin)/python -m pytest -n 0 tests/orchestrators $(ARGS)

bench: .venv/.dev ## Measure beside released Metaflow, into docs/benchmarks.md; ARGS=--quick takes ten minutes
	@echo "==> Measuring"
	@$(bin)/python tests/bench/run.py $(ARGS)

compat: .venv/.dev ## Write every type of value in each language, read it in both; read artifacts of earlier formats
	@echo "==> Values across languages, and artifacts of earlier formats"
	@$(bin)/python -m pytest -q tests/compat $(ARGS)

chaos: .venv/.dev ## Kill parts of runs at random instants, for ten minutes; ARGS="--minutes 30 --seed 7"
	@echo "==> Killing"
	@$(bin)/python -m pytest -q -s -n 0 tests/chaos/kills.py $(ARGS)

lint: .venv/.dev ## Check style, types and layers
	@echo "==> ruff"
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@echo "==> mypy"
	@$(bin)/mypy
	@echo "==> import-linter"
	@$(bin)/lint-imports --no-logo

check-r: .venv/.dev ## Check the R package: lintr, manual pages, R CMD check; ARGS=--no-tests takes half a minute
	@tools/check_r.sh $(ARGS)

docs: .venv/.dev ## Build the documentation into site/
	@echo "==> Building site/"
	@$(bin)/mkdocs build --strict

clean: ## Remove .venv and everything that was built
	@rm -rf .venv site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 20
