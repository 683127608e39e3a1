PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --constraint constraints.txt

# The tests that say what the SQL means, without those that are about processes.
SQL_TESTS := $(addprefix cdr_assets_tests/,test_any_records.py $(addprefix warehouse/test_,checks.py daily_usage.py partitions.py schema.py))

.PHONY: demo demo-scale dev dashboard test test-scale test-on-servers bench soak

# Seven days from the sandbox into DuckDB, and a look at them.
demo: .venv/installed
	@$(BIN)/cdr-assets demo

# The same seven days on several machines: two Celery workers, a lake, a bucket, all on servers of their own.
demo-scale: .venv-scale/installed .venv-scale/debian
	@.venv-scale/bin/python -m cdr_assets_tests.scale.servers .venv-scale/bin/python -m cdr_assets_tests.scale.demo

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

# The tests on many machines, with a Postgres, a Redis and an S3 store of their own.
test-scale: .venv-scale/installed .venv-scale/debian
	@.venv-scale/bin/python -m cdr_assets_tests.scale.servers $(MAKE) --no-print-directory test-on-servers

# Then those tests that a lake could fail although files do not. Of some files of tests there is nothing to run (5).
test-on-servers:
	.venv-scale/bin/python -m pytest -m scale -n 3 --dist worksteal $(PYTEST) || [ $$? = 5 ]
	CDR_TEST_ON=lake .venv-scale/bin/python -m pytest -m lake -n 3 --dist loadfile $(PYTEST) || [ $$? = 5 ]

# Speed and memory compared with what people would use instead: a table, and bench.json. BENCH="--quick" for a first look.
bench: .venv-bench/installed
	@.venv-bench/bin/python -m cdr_assets_tests.benchmarks.bench $(BENCH)

# Runs that are killed at random moments, then many writers at once; everything must be right. SOAK="--kills 50 --seed 7".
soak: .venv/installed-test
	@$(BIN)/python -m cdr_assets_tests.soak $(SOAK)

# DuckDB's extensions come from the package index too, for this version of DuckDB only. uv takes a third of pip's time.
.venv-scale/installed: pyproject.toml constraints.txt
	@echo "Installing the tests on many machines and what they need into .venv-scale; this takes half a minute"
	@$(PYTHON) -m venv .venv-scale
	@grep -v '^duckdb==' constraints.txt >.venv-scale/constraints.txt
	@.venv-scale/bin/python $(PIP) uv
	@.venv-scale/bin/uv pip install --quiet --compile-bytecode --python .venv-scale/bin/python \
		--constraint .venv-scale/constraints.txt --editable ".[test-scale]"
	@touch $@

# The servers as Debian has them, unpacked: nothing is installed, no service starts, and root is not needed.
APT := apt-get -qq -o Debug::NoLocking=1 -o APT::Sandbox::User= -o Dir::State::lists=$(CURDIR)/.venv-scale/apt/lists \
	-o Dir::Cache=$(CURDIR)/.venv-scale/apt/cache
.venv-scale/debian: | .venv-scale/installed
	@echo "Unpacking Postgres and Redis into $@"
	@mkdir -p .venv-scale/apt/lists/partial .venv-scale/apt/cache/archives/partial $@.part
	@$(APT) update
	@$(APT) --yes --download-only --no-install-recommends install postgresql redis-server
	@for package in $$(find .venv-scale/apt/cache/archives -name '*.deb'); do dpkg -x "$$package" $@.part || exit; done
	@rm -r .venv-scale/apt
	@mv $@.part $@

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
