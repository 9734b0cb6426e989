# One environment for serving, testing and linting: the pins of requirements.lock and this project,
# editable. The stamp makes the second run quick; a changed lock or pyproject.toml brings it up to date.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

USER_ID ?= alice
NAME ?= Alice
ROLE ?= player

.PHONY: serve test lint token clean help

help:
	@echo "make serve   start the server (Ctrl-C ends it)"
	@echo "make test    lint, type check, all tests"
	@echo "make lint    ruff and mypy only"
	@echo "make token   an access token for development: USER_ID=$(USER_ID) NAME=$(NAME) ROLE=$(ROLE)"
	@echo "make clean   remove the environment, caches and build artefacts; data/ stays"

serve: $(STAMP)
	$(BIN)/cardroom serve

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

token: $(STAMP)
	@$(BIN)/cardroom token --user "$(USER_ID)" --name "$(NAME)" --role "$(ROLE)"

# --no-build-isolation: the build tool comes from the lock as well, pinned and with its hash.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
