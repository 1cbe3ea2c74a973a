# Two commands do all: `make demo` and `make test`. Each makes the virtual environment if it is missing.

PYTHON ?= python3
BIN := .venv/bin
# Tests run in so many processes, each of one thread; a file, or a notebook, stays in one of them.
WORKERS ?= 2
# One OpenMP team that sleeps while it waits: on shared machines spinning threads cost more than they bring.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help lab demo test test-fast notebooks bench results lint clean

help:
	@echo "make lab        JupyterLab on the course, at its first page"
	@echo "make demo       make the data, train from boxes alone, evaluate: runs/demo (under 20 minutes, no GPU needed)"
	@echo "make test       every test, with coverage, and every notebook of the course executed"
	@echo "make test-fast  the tests that neither train nor install anything"
	@echo "make notebooks  execute the course and its solutions, and store what they print and draw"
	@echo "make bench      the benchmarks that this machine can run"
	@echo "make results    the page and figures of the stored studies: benchmarks/results"
	@echo "make lint       ruff"
	@echo "make clean      remove the virtual environment and what was built; what was trained, in runs, stays"

.venv/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch triton
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

lab: .venv/.done
	$(BIN)/jupyter lab $(LAB_FLAGS) notebooks/00_quickstart.ipynb

demo: .venv/.done
	$(BIN)/maskfree demo --out runs/demo

test: export OMP_NUM_THREADS := 1
test: .venv/.done
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-fail-under=90 \
		--numprocesses=$(WORKERS) --dist=loadfile \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=900 --nbval-kernel-startup-timeout=300 \
		tests maskfree_nb notebooks

test-fast: export OMP_NUM_THREADS := 1
test-fast: .venv/.done
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile -m 'not slow'

notebooks: .venv/.done
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False \
		--ExecutePreprocessor.record_timing=False --ClearMetadataPreprocessor.enabled=True \
		--ClearMetadataPreprocessor.clear_cell_metadata=False \
		"--ClearMetadataPreprocessor.preserve_nb_metadata_mask={'kernelspec', ('language_info', 'name')}" \
		notebooks/*.ipynb notebooks/solutions/*.ipynb

bench: .venv/.done
	$(BIN)/python benchmarks/run_kernels.py --json runs/bench/kernels.json
	$(BIN)/python benchmarks/run.py tkloss --json runs/bench/tkloss.json

results: .venv/.done
	$(BIN)/python benchmarks/results_page.py

lint: .venv/.done
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf .venv build dist *.egg-info
