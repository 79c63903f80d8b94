# The jobs of compose.yaml without containers. Each target makes the virtual environment that it needs.
PYTHON ?= python3
SUITE ?= smoke
VENV := .venv
# The environment is made again when a lock file is newer than this file.
READY := $(VENV)/.ready
LOCKS := requirements.lock requirements-ray.lock requirements-dev.lock

.PHONY: help benchmark page test test-slow test-docker test-browser test-gpu check format image docker-results lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): $(LOCKS)
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python scripts/install.py $(LOCKS)
	$(VENV)/bin/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

benchmark: $(READY) ## Run a suite (SUITE=smoke), write records to results/, print the board
	$(VENV)/bin/benchmark run $(SUITE) $(ARGS)

page: $(READY) ## Build the board from the committed records, with its page leaderboard/index.html
	$(VENV)/bin/benchmark leaderboard build

test: $(READY) ## Run the fast tests, on up to four cores (ARGS="-n 0": in one process)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 $(ARGS)

test-slow: $(READY) ## Run the slow tests
	$(VENV)/bin/python -m pytest -m slow $(ARGS)

test-docker: $(READY) ## Run the tests that build and start containers
	$(VENV)/bin/python -m pytest -m docker $(ARGS)

test-browser: $(READY) ## Run the tests of the board's page (needs Chromium: apt-get install chromium)
	$(VENV)/bin/python -m pytest -m browser $(ARGS)

test-gpu: $(READY) ## Run the tests that need a CUDA device
	$(VENV)/bin/python -m pytest -m gpu $(ARGS)

check: $(READY) ## Lint, formatting, types, layers, workflow files, board and reproduction against the records, known vulnerabilities
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/proposal.yml
	$(VENV)/bin/benchmark leaderboard check
	$(VENV)/bin/benchmark reproduce --check --out docs/reproduction.md
	$(VENV)/bin/python scripts/audit.py $(AUDIT)

format: $(READY) ## Format, and fix what ruff can fix
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

image: ## Build the CPU image, labelled with the commit
	GIT_COMMIT="$$(git rev-parse HEAD 2>/dev/null)" docker compose build benchmark

docker-results: ## Copy the results of runs in Docker from their volume to results/
	mkdir -p results
	docker compose run --rm --no-deps -T --entrypoint tar benchmark -C results -c . | tar -C results -x --no-same-owner

# torch keeps the version in requirements.lock; edit that line and requirements-gpu.lock by hand to update them.
lock: ## Resolve pyproject.toml into the lock files
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python scripts/install.py requirements.lock
	.venv-lock/bin/python -m pip install --upgrade --upgrade-strategy eager . "$$(grep ^torch== requirements.lock)"
	.venv-lock/bin/python -m pip freeze --all --exclude pip --exclude crambench | sed 's/+cpu$$//' > requirements.lock
	.venv-lock/bin/python -m pip install -c requirements.lock '.[ray]'
	.venv-lock/bin/python -m pip freeze --all --exclude pip --exclude crambench | sed 's/+cpu$$//' \
		| grep -vxFf requirements.lock > requirements-ray.lock
	.venv-lock/bin/python -m pip install -c requirements.lock -c requirements-ray.lock '.[dev]'
	.venv-lock/bin/python -m pip freeze --all --exclude pip --exclude crambench | sed 's/+cpu$$//' \
		| grep -vxFf requirements.lock -f requirements-ray.lock > requirements-dev.lock
	rm -rf .venv-lock

clean: ## Remove the virtual environment and caches, not results/
	rm -rf $(VENV) .venv-lock .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis build *.egg-info
	find benchmark leaderboard tasks tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
