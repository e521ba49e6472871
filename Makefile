# make demo   sets up everything and predicts a handful of recordings
# make test   sets up everything and runs the tests
# make style  linters and types; make acceptance  measures the shipped checkpoint on unseen speakers, and speed
# Real recordings are found through MULTIMODAL_SER_DATA (see docs/data.md); without it, what needs them is skipped with a reason.

PYTHON ?= python3
VENV ?= .venv
# Tests run side by side, a file at a time, in so many processes (each takes up to 4 GB).
WORKERS ?= 2
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test coverage style acceptance rows bench measure build clean

demo: $(VENV)/.runs
	$(BIN)/python examples/demo.py

test: $(VENV)/.tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

# The same, counting which lines ran: a third slower.
coverage: $(VENV)/.tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --cov=multimodal_ser --cov-report=term:skip-covered

style: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mlinter multimodal_ser/model
	$(BIN)/codespell

acceptance: measure bench rows

# Long runs of training (interrupted resumes, folds of RAVDESS ...), each row a JSON in benchmarks/results/acceptance; hours.
# Called again, it goes on where it was stopped.
rows: $(VENV)/.tests
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python benchmarks/acceptance.py

measure: $(VENV)/.tests
	$(BIN)/python benchmarks/measure_shipped.py --output-dir benchmarks/results

bench: $(VENV)/.tests
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/onnx_labels.py
	$(BIN)/python benchmarks/memory.py --output benchmarks/results/memory.json

build: $(VENV)/.tests
	$(BIN)/python -m build

# The library and Whisper base: 6.6 GB with PyTorch and its CUDA libraries.
$(VENV)/.runs: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[offline]"
	touch $@

$(VENV)/.tests: $(VENV)/.runs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .coverage *.egg-info
