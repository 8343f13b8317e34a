# make study   train, compress, corrupt, compare: the whole road (ARCH=, DATASET= and any other parameter of the notebook)
# make test    every test
# make lab     JupyterLab
# make site    the site, with Quarto
# make release-check   the wheel, in a clean environment: installed, README's lines run (CLEAN=folder keeps the environment)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Waiting threads that spin cost several times what they save where a browser or a second job wants the cores too.
export OMP_WAIT_POLICY ?= passive

.PHONY: study test lab site release-check clean
.DEFAULT_GOAL := study

# Set-up depends on what is to be installed and on nothing else; code is used in place.
$(READY): settings.ini setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "robcomp needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing robcomp and what it needs (some gigabytes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,corruptions,onnx]'
	@touch $@

study: $(READY)
	@$(BIN)/python -m robcomp.study $(filter-out PYTHON=% VENV=%,$(MAKEOVERRIDES))

# The home page and the findings are executed by tests/test_pages.py, which holds them to their committed outputs.
test: $(READY)
	@$(BIN)/ruff check --quiet --isolated --no-cache --select E9,F --ignore F811 robcomp tests setup.py
	@$(BIN)/ruff format --check --quiet --isolated --no-cache --line-length 120 robcomp/_*/ tests
	@$(BIN)/mypy --no-error-summary --cache-dir=/dev/null --strict --follow-imports=silent --ignore-missing-imports tests/typed_road.py
	@$(BIN)/nbdev_test --n_workers 2 --timing --skip_folder_re '^[_.]|^analysis$$' --skip_file_re '^[_.]|^index'
	@$(BIN)/python -m pytest tests -n 2 --dist loadfile --durations=25

lab: $(READY)
	@$(BIN)/jupyter lab nbs/index.ipynb

site: $(READY)
	@$(BIN)/python -m robcomp.site build

release-check: $(READY)
	@$(BIN)/python -m tests.release $(if $(CLEAN),--venv $(CLEAN))

clean:
	rm -rf _proc _docs build dist *.egg-info
