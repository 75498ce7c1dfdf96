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

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

up: $(RUNTIME) ## Start all services; Ctrl-C stops them
	@exec $(RUN) -m services

dev: $(RUNTIME) ## Start all services; reload them when a file changes
	@exec $(RUN) -m services --reload

test: $(DEV) ## Run all tests except slow ones, or some: make test T=tests/gateway
	$(RUN) -m pytest $(if $(T),$(T),$(PARALLEL) -m "not slow")

cover: $(DEV) ## Run all tests, slow ones too, with branch coverage
	$(RUN) -m pytest $(PARALLEL) $(COVERAGE)

test-all: cover ## Run all tests, as "make cover" does

lint: $(DEV) ## Check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(DEV) ## Check types
	$(RUN) -m mypy

format: $(DEV) ## Format the code and apply automatic fixes
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

migrate: $(RUNTIME) ## Migrate all databases without starting the services
	@exec $(RUN) -m services migrate

admin: $(RUNTIME) ## Give a user the role admin: make admin EMAIL=ann@example.org
	@exec $(RUN) -m services admin "$(EMAIL)"

seed: $(RUNTIME) ## Add demo content: make seed POSTS=1000
	@exec $(RUN) -m services seed --posts $(POSTS)

rotate-keys: $(RUNTIME) ## Rotate the signing key; nobody is signed out
	@exec $(RUN) -m services rotate-keys

pins: $(RUNTIME) ## Pin the newest versions that pyproject.toml allows
	$(RUN) -m venv .venv/pins
	.venv/pins/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(COMPILE) --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --group dev --constraints requirements/runtime.txt

client: $(RUNTIME) ## Generate the types of the TypeScript client from the services' documents, and build it (needs Node.js)
	cd clients/typescript && npm ci --ignore-scripts
	$(RUN) -m clients.openapi_document > clients/typescript/openapi.json
	cd clients/typescript && npm run --silent types && npm run --silent build

clean: ## Delete .venv and all caches, but no data (var/)
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
