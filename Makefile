# Everything that a person types. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
ONLY ?=
SERVE ?= 1
# Every process would compile all of Django and of Countersign again: 2 of its 3 CPU seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo serve test soak check bench lock format migrate pictures

help: ## List what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Countersign needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv

# Two source roots: this folder and platform/.
.venv/main: requirements/main.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/main.lock
	@printf '%s\n%s\n' '$(CURDIR)' '$(CURDIR)/platform' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/countersign.pth"
	@touch $@

.venv/development: requirements/development.lock .venv/main
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/development.lock
	@$(BIN)/python -m tests.judges.golang
	@touch $@

demo: .venv/main ## Play the story through the REST API, then serve the console (SERVE=0: stop after the story)
	@$(BIN)/python -m demo --serve=$(SERVE)

serve: .venv/main ## Start everything, without the story
	@$(BIN)/python -m countersign.serve

test: .venv/development ## Run the whole suite on the embedded PostgreSQL
	@$(BIN)/python -m tests.side_by_side -m "not soak"

soak: .venv/development ## Run the slow tests: whole installations, killed and stopped processes
	@$(BIN)/python -m tests.side_by_side -m soak

check: .venv/development ## Format, lint, types, import contracts, templates, migrations, deploy checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@git ls-files -z 'templates/*.html' | xargs -0 -r $(BIN)/djade --check --target-version 5.2
	@test -z "$$(git ls-files 'templates/*.html')" || $(BIN)/djlint --lint --quiet templates
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --deploy --fail-level WARNING

bench: .venv/development ## Run the benchmarks (ONLY=name runs one); each ends with a line of JSON
	@for file in $(if $(ONLY),bench/$(ONLY).py,bench/*.py); do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

format: .venv/development ## Rewrite the code in the house's format
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .
	@git ls-files -z 'templates/*.html' | xargs -0 -r $(BIN)/djade --target-version 5.2

pictures: .venv/development ## Take the documents' pictures of the console again, with Chromium
	@CI=true PICTURES=1 $(BIN)/python -m pytest -q -m browser tests/journeys

lock: .venv/development ## Renew the locked requirements, with hashes and without index addresses
	@for name in main development; do $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links requirements/$$name.in -o requirements/$$name.lock; done
