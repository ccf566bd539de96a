# Two commands: `make demo` shows the whole system at work, `make test` proves it. Both set up what they need.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
# The lock is complete, so pip has nothing to resolve; left to resolve, it would ask for the newest version of a package
# that another one wants with extras, and stop because that one is not in the lock.
# Modules are compiled when they are first imported: to compile all of TensorFlow's takes longer than to unpack it. They
# must be kept then, whatever the user's environment says, or each process would take three times as long to start.
LOCKED := --quiet --disable-pip-version-check --no-deps --require-hashes --no-compile

unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo down test soak check format lock bench clean

demo: .venv/runtime
	$(BIN)/cxr demo $(if $(IMAGES),--images "$(IMAGES)")

down: .venv/runtime
	$(BIN)/cxr down

test: .venv/dev
	$(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: .venv/dev
	$(RUN) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2
	$(RUN) -m pytest tests/test_house.py
	UV=$(BIN)/uv infra/lock.sh --check

format: .venv/dev
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lock: .venv/dev
	UV=$(BIN)/uv infra/lock.sh $(ARGS)

bench: .venv/dev
	$(RUN) -m tests.bench $(ARGS)

# The stamps say which lock the environment was made from.
.venv/runtime: requirements-pip.lock requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=python3.11" >&2; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m pip install $(LOCKED) -r requirements-pip.lock
	$(RUN) -m pip install $(LOCKED) -r requirements.lock
	$(RUN) -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv/dev: requirements-dev.lock .venv/runtime
	$(RUN) -m pip install $(LOCKED) -r requirements-dev.lock
	touch $@

clean:
	-test -x $(BIN)/cxr && $(BIN)/cxr down
	rm -rf .venv .cxr .mypy_cache .ruff_cache .pytest_cache *.egg-info
