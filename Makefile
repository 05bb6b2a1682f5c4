# `make demo` and `make test` do their own set-up: all they need is Python 3.11 or newer.
# `make setup` uses uv where it is installed, which is several times faster than pip.
# PYTHON chooses the interpreter (make test PYTHON=python3.12), JOBS the tests run side by side, TESTS which tests.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
JOBS ?= 3
TESTS ?= tests
COMPOSE ?= docker compose
BACKUP ?= backup

BIN = .venv/bin
READY = .venv/.ready
PACKAGES = --constraint constraints.txt --editable '.[cluster,s3,dev,docs]'
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup demo reproduce-row test check test-mutations test-docker lint docs audit bench clean secrets up down logs backup restore

help:
	@echo "make demo    sweep slot machines on the bundled handwritten digits, and report it (nothing downloaded but packages)"
	@echo "make reproduce-row  one row of the committed results once more, beside the first (SWEEPER_DATA_DIR=DIR; minutes)"
	@echo "make test    all tests (SWEEPER_DATA_DIR=DIR adds those on real MNIST and CIFAR-10)"
	@echo "make check   lint, and the quick tests: those that need neither Ray nor a server, a browser or a bucket"
	@echo "make test-mutations what the tests of faults are worth: takes out their guards (MUTATIONS='NAME ...': these alone)"
	@echo "make test-docker the stack of docker-compose.yml, brought up, disturbed, backed up and restored (docs/cluster.md)"
	@echo "make lint    ruff, mypy, import arrows"
	@echo "make docs    the documentation as a site: build/docs/index.html (a broken link is an error)"
	@echo "make audit   known vulnerabilities of the pinned packages, asked of PyPI"
	@echo "make bench   how long a training step, a report of 10,000 runs and (with SWEEPER_DATA_DIR) an epoch take"
	@echo "make setup   only create .venv and install into it (the others do so when they need it)"
	@echo "make secrets writes .env: passwords and the token of a cluster (never over one that is there)"
	@echo "make up      start the cluster of docker-compose.yml: PostgreSQL, MLflow, Ray (docs/cluster.md)"
	@echo "make down    stop it; its volumes stay"
	@echo "make logs    what its services say"
	@echo "make backup  the database, artifacts and results into BACKUP=DIR (default: backup)"
	@echo "make restore the same into an empty, new cluster"
	@echo "make clean   remove caches and the demo's output; .venv and your sweeps stay"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: Python 3.11 or newer is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
		echo "      Install one, or name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: '$(PYTHON)' lacks its venv module (Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Installing into .venv, once: about 190 packages, several GB with torch; minutes, or less than one with uv."
	@$(PYTHON) -m venv .venv
	@{ command -v uv >/dev/null && uv pip install --quiet --compile-bytecode --python $(BIN)/python $(PACKAGES); } \
		|| $(BIN)/python -m pip install --progress-bar on $(PACKAGES)
	@touch $(READY)

demo: $(READY)
	@$(BIN)/sweeper launch digits_quickstart --storage demo
	@$(BIN)/sweeper report digits_quickstart --storage demo -o demo/report >/dev/null
	@echo
	@echo "The report:  demo/report/report.html (open it in a browser)"
	@echo "The runs:    $(BIN)/sweeper ui --storage demo (starts MLflow's UI and prints its address)"

# ROW: overrides that name the arm; RESULTS: the report that it is held against; ROW_OUT: where the difference goes.
ROW_SWEEP ?= weight_options
ROW ?= --set network=lenet --set dataset=mnist --set preset=tuned --set budget_epochs=25 --set options=8 --set method=slot_machine
RESULTS ?= docs/results/lenet_mnist
ROW_STORAGE ?= reproduced
reproduce-row: $(READY)
	@$(BIN)/sweeper launch $(ROW_SWEEP) $(ROW) --storage $(ROW_STORAGE) --local --yes $(if $(SWEEPER_DATA_DIR),--data-dir "$(SWEEPER_DATA_DIR)")
	@$(BIN)/sweeper report $(ROW_SWEEP) --storage $(ROW_STORAGE) --against $(RESULTS) -o $(ROW_STORAGE)/report
	@sed -n '/^## Against/,/^## Sweep/p' $(ROW_STORAGE)/report/report.md | sed '$$d'

# Files are handed out whole (tests/side_by_side.py). Tests that start Ray wait for it half of the time.
test: $(READY)
	@$(BIN)/python -m pytest -n $(JOBS) --durations 15 $(TESTS)

# What `make test` has, but for the tests that start Ray, servers, browsers, a local S3 or real launches, or are slow.
check: lint
	@$(BIN)/python -m pytest -q -n $(JOBS) -m 'not (cluster or docker or browser or bucket or slow)' $(TESTS)

test-mutations: $(READY)
	@$(BIN)/python -m tests.mutations $(MUTATIONS)

test-docker: $(READY)
	@$(BIN)/python -m pytest -m docker tests/cluster/test_docker_stack.py

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py

# A warning (a link that leads nowhere, say) is an error, and all are shown. Everything is read anew (-E): some of it is code.
docs: $(READY)
	@rm -rf build/docs
	@$(BIN)/python -m sphinx -q -E -W --keep-going -n -b html -d build/doctrees docs build/docs
	@echo "The documentation: build/docs/index.html"

audit: $(READY)
	@$(PYTHON) -m venv .venv/audit && .venv/audit/bin/pip install --quiet pip-audit
	@.venv/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

bench: $(READY)
	@$(BIN)/python -m benchmarks.step
	@$(BIN)/python -m benchmarks.report
	@if [ -n "$$SWEEPER_DATA_DIR" ]; then $(BIN)/python -m benchmarks.epoch --data-dir "$$SWEEPER_DATA_DIR"; fi

secrets:
	@$(PYTHON) scripts/write_secrets.py

up:
	@$(COMPOSE) up --detach --build

down:
	@$(COMPOSE) --profile cpu --profile gpu down

logs:
	@$(COMPOSE) logs --follow --tail 100

backup:
	@COMPOSE="$(COMPOSE)" scripts/backup.sh "$(BACKUP)"

restore:
	@COMPOSE="$(COMPOSE)" scripts/restore.sh "$(BACKUP)"

clean:
	@rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
