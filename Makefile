PYTHON ?= python3
BIN := .venv/bin

# Runs against the sandbox keep their CDRs and their Dagster state apart from the account's.
SANDBOX := $(BIN)/python -m cdr_assets.sandbox
SANDBOX_ENV := DAGSTER_HOME=$(CURDIR)/sandbox-data/dagster CDR_DATA_DIR=$(CURDIR)/sandbox-data/cdr
DAGSTER_HOME ?= $(CURDIR)/.dagster

.PHONY: demo dev test bench

# Seven days from the sandbox into DuckDB, and a look at them.
demo: .venv/installed sandbox-data/dagster/dagster.yaml
	@$(SANDBOX_ENV) PATH="$(CURDIR)/$(BIN):$$PATH" $(SANDBOX) -- $(BIN)/python -m cdr_assets.sandbox.demo

# The Dagster UI and daemon: on the account whose credentials are set, else on the sandbox.
dev: .venv/installed sandbox-data/dagster/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	@if [ -n "$$ENABLEX_APP_ID" ] && [ -n "$$ENABLEX_APP_KEY" ]; then \
		exec env DAGSTER_HOME="$(DAGSTER_HOME)" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dg dev; \
	else \
		exec env $(SANDBOX_ENV) PATH="$(CURDIR)/$(BIN):$$PATH" $(SANDBOX) -- $(BIN)/dg dev; \
	fi

# Lint, types, tests; what is SQL also with the older DuckDB.
test: .venv/installed-test .venv/duckdb-1.5
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.venv/duckdb-1.5 $(BIN)/python -m pytest cdr_assets_tests/test_tables.py cdr_assets_tests/test_landing.py
	$(BIN)/python -m pytest

# Speed and memory beside what people would use instead: a table, and bench.json. BENCH="--quick" for a first look.
bench: .venv-bench/installed
	@.venv-bench/bin/python -m cdr_assets_tests.benchmarks.bench $(BENCH)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/duckdb-1.5: .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-deps --target $@ "duckdb==1.5.*"

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	@touch $@

# The benchmark's peers bring much along that the project must not depend on.
.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable ".[bench]"
	@touch $@

%/dagster.yaml: dagster.yaml
	@mkdir -p $(@D)
	@cp $< $@
