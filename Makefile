# Two commands do all the set-up on a fresh machine with Python 3.11 and make: `make demo` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check bench crash simulate conformance matrix damage fuzz fmt golden grammar clean

INPUTS ?= 200000
FILES ?= 2000
SEEDS ?= 0:100000

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: PYTHON=/path/to/python3.11 make"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(INSTALLED)

demo: $(INSTALLED)
	@sh examples/demo.sh $(abspath $(BIN))/brevplan

test: demo
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m bench.run

crash: $(INSTALLED)
	$(BIN)/python -m bench.crash

# Plays schedules of faults, kills and other people's hands: make simulate SEEDS=0:100000, or one seed again.
simulate: $(INSTALLED)
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) $(if $(findstring :,$(SEEDS)),,--trace)

# Puts the cases of the language, and made-up expressions, to terraform's console and to ours. Needs terraform on PATH.
conformance: $(INSTALLED)
	$(BIN)/python -m tools.conformance

# Runs the tests of the providers, and writes what each cloud can do into the README.
matrix: $(INSTALLED)
	$(BIN)/python -m tools.matrix

damage: $(INSTALLED)
	$(BIN)/python -m tools.damage --files $(FILES)

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz.run --inputs $(INPUTS)

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/brevplan fmt -recursive examples

golden: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 tests/scenarios tests/docs --update-golden

grammar: $(INSTALLED)
	$(BIN)/python tools/make_grammar.py

clean:
	rm -rf $(VENV) build dist *.egg-info
