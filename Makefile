# Nothing has to be installed first but Python 3.11 or newer; another one than the first found: make PYTHON=…
POSTS ?= 1000
T ?=

RUN := .venv/bin/python
RUNTIME := .venv/runtime.stamp
DEV := .venv/dev.stamp
PARALLEL := -n auto --max-worker-restart 1 --dist loadscope --no-loadscope-reorder
COVERAGE := --cov --cov-report=term-missing:skip-covered --cov-fail-under=85
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make pins" .venv/pins/bin/uv pip compile --quiet --upgrade --universal \
	--fork-strategy fewest --python-version 3.11 --generate-hashes --no-emit-index-url

.PHONY: help up dev test cover test-all lint types format migrate admin seed rotate-keys pins client clean FORCE
.NOTPARALLEL:

help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

up: $(RUNTIME) ## Start all services; Ctrl-C stops them
	@exec $(RUN) -m services

dev: $(RUNTIME) ## Start all services and reload them when a file changes
	@exec $(RUN) -m services --reload

test: $(DEV) ## Run all tests but the slow ones, or those that are named: make test T=tests/gateway
	$(RUN) -m pytest $(if $(T),$(T),$(PARALLEL) -m "not slow")

cover: $(DEV) ## Run every test, slow ones too, with branch coverage
	$(RUN) -m pytest $(PARALLEL) $(COVERAGE)

test-all: cover ## Run every test, which is what "make cover" does

lint: $(DEV) ## Check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(DEV) ## Check types
	$(RUN) -m mypy

format: $(DEV) ## Format, and mend what can be mended mechanically
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

migrate: $(RUNTIME) ## Bring every database to the newest schema, without starting anything
	@exec $(RUN) -m services migrate

admin: $(RUNTIME) ## Make somebody an admin: make admin EMAIL=ann@example.org
	@exec $(RUN) -m services admin "$(EMAIL)"

seed: $(RUNTIME) ## Fill the databases with demo content: make seed POSTS=1000
	@exec $(RUN) -m services seed --posts $(POSTS)

rotate-keys: $(RUNTIME) ## Sign tokens with a new key from now on, without signing anybody out
	@exec $(RUN) -m services rotate-keys

pins: $(RUNTIME) ## Choose the newest versions that pyproject.toml allows and pin them
	$(RUN) -m venv .venv/pins
	.venv/pins/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(COMPILE) --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --group dev --constraints requirements/runtime.txt

client: $(RUNTIME) ## Generate the types of the TypeScript client from the services' documents, and build it (needs Node.js)
	cd clients/typescript && npm ci --ignore-scripts
	$(RUN) -m clients.openapi_document > clients/typescript/openapi.json
	cd clients/typescript && npm run --silent types && npm run --silent build

clean: ## Delete .venv and all caches, never the data in var/
	rm -rf .venv .venv.lock .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov
	find . -path ./var -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
	@echo "var/ with all data is left as it is."

$(RUNTIME): requirements/runtime.txt
	@.ci/install requirements/runtime.txt
	@touch $@

$(DEV): requirements/runtime.txt requirements/dev.txt
	@.ci/install requirements/runtime.txt requirements/dev.txt
	@touch $(RUNTIME) $@

# A .venv whose Python has gone counts as missing, whatever the stamps say.
ifeq ($(realpath $(RUN)),)
$(RUNTIME) $(DEV): FORCE
endif
