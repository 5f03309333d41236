# `make demo` and `make test` are all it takes: each sets up .venv first, once. ARGS go to the program.

PYTHON := .venv/bin/python
NEEDED_GB := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test gate lint lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

setup: .venv/ready ## install everything into .venv (also done by the others)

demo: .venv/ready ## train across three phantom hospitals, each a process of its own, over TLS
	$(PYTHON) -m fed_sim demo --out demo $(ARGS)

test: .venv/ready ## run all tests; ARGS='-m "not slow"' for the quick ones
	$(PYTHON) -m pytest --numprocesses auto --dist worksteal $(ARGS)

gate: lint ## what a change must pass: lint and the quick tests
	$(PYTHON) -m pytest --numprocesses auto --dist worksteal -m "not slow"

lint: .venv/ready ## formatting, style, types and the direction of imports
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

lock: ## resolve pyproject.toml anew and write requirements.lock
	rm -rf build/lock && python3 -m venv build/lock
	build/lock/bin/python -m pip install -q '.[dev]' hatchling editables
	{ grep '^#' requirements.lock; \
	  build/lock/bin/python -m pip freeze --all --exclude pip --exclude fed-hospitals | sed 's/+.*//'; \
	} > build/requirements.lock
	mv build/requirements.lock requirements.lock

clean: ## delete all that the other commands have made
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: requirements.lock pyproject.toml
	@refuse() { echo "$$1" >&2; exit 1; }; \
	command -v python3 >/dev/null || refuse "python3 is missing: apt install python3"; \
	found=$$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))') \
	  || refuse "python3 is $$found: 3.11 or newer is needed"; \
	python3 -c 'import ensurepip' 2>/dev/null || refuse "python3-venv is missing: apt install python3-venv"; \
	free_gb=$$(($$(df -Pk . | awk 'NR == 2 { print $$4 }') / 1048576)); \
	test -x $(PYTHON) || test "$$free_gb" -ge $(NEEDED_GB) \
	  || refuse "$(CURDIR): $$free_gb GB are free: set-up needs $(NEEDED_GB) GB"
	@echo "Setting up .venv; this takes a few minutes, once."
	@python3 -m venv .venv
	@$(PYTHON) -m pip install --quiet --requirement requirements.lock
	@$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
