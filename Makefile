PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --constraint constraints.txt

# The tests that say what the SQL means, without those that are about processes.
SQL_TESTS := $(addprefix cdr_assets_tests/,test_any_records.py $(addprefix warehouse/test_,checks.py daily_usage.py partitions.py schema.py))

.PHONY: demo dev dashboard test bench soak

# Seven days from the sandbox into DuckDB, and a look at them.
demo: .venv/installed
	@$(BIN)/cdr-assets demo

# The Dagster UI and daemon, and the dashboard: on the account if its credentials are set, else on the sandbox.
dev: .venv/installed-dashboard
	@exec $(BIN)/cdr-assets dev

# Pages over the Parquet copies, in the browser: on the account's data, else on that of the sandbox.
dashboard: .venv/installed-dashboard
	@exec $(BIN)/cdr-assets dashboard

# Lint, types, tests. The SQL also runs on the oldest DuckDB that is supported.
test: .venv/installed-test .venv/duckdb-1.5
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.venv/duckdb-1.5 $(BIN)/python -m pytest -n 2 --dist worksteal $(SQL_TESTS)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

# Speed and memory compared with what people would use instead: a table, and bench.json. BENCH="--quick" for a first look.
bench: .venv-bench/installed
	@.venv-bench/bin/python -m cdr_assets_tests.benchmarks.bench $(BENCH)

# Runs that are killed at random moments, then many writers at once; everything must be right. SOAK="--kills 50 --seed 7".
soak: .venv/installed-test
	@$(BIN)/python -m cdr_assets_tests.soak $(SOAK)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing cdr_assets and what it needs into .venv; this takes about a minute"
	@$(BIN)/python $(PIP) --editable .
	@touch $@

.venv/duckdb-1.5: .venv/bin/python
	@echo "Installing DuckDB 1.5 into $@"
	@$(BIN)/python -m pip install --quiet --no-deps --target $@ "duckdb==1.5.*"

.venv/installed-dashboard: .venv/installed
	@echo "Installing the dashboard's packages into .venv"
	@$(BIN)/python $(PIP) --editable ".[dashboard]"
	@touch $@

.venv/installed-test: .venv/installed
	@echo "Installing the tools of the tests into .venv"
	@$(BIN)/python $(PIP) --editable ".[test]"
	@touch $@

# The benchmark's peers bring many packages that the project must not depend on.
.venv-bench/installed: pyproject.toml constraints.txt
	@echo "Installing the benchmark and its peers into .venv-bench; this takes a minute or two"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python $(PIP) --editable ".[bench]"
	@touch $@
