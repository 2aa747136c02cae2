# make train: install, make the demo shards if shards/ is empty, and train.
# make test: lint, types and tests, in minutes.   make test-all: also the slow tests, with every optional library, and
# make test-lanes: CPU kernels with vectors of 16 and of 8 numbers, and without. `make test` has those that fit the CPU.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test test-all test-lanes lint types clean
.DELETE_ON_ERROR:

train: $(VENV)/installed
	@ls shards/*.tar >/dev/null 2>&1 || $(BIN)/gtzan-stream demo shards/
	$(BIN)/python train.py --shards shards/

# Only two processes: torch uses several threads, and each process makes the shards that tests share.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(VENV)/installed-dev lint types
	$(PYTEST)

test-all: $(VENV)/installed-all lint types test-lanes
	GTZAN_STREAM_TEST_ALL=1 $(PYTEST)

test-lanes: $(VENV)/installed-dev
	for lanes in 16 8 0; do GTZAN_STREAM_LANES=$$lanes $(PYTEST) tests/test_lanes*.py tests/test_features*.py \
		tests/test_hpss.py tests/test_median.py || exit 1; done

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gtzan-stream needs Python 3.11 or newer, this is " + sys.version)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audiomentations,service]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/installed-all: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test-all]'
	touch $@

clean:
	rm -rf $(VENV) runs
