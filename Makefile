# `make demo` runs the main job, `make test` all tests; both install what they miss into this folder.

PYTHON ?= python3
BIN := .venv/bin
AT ?=
MESSAGES ?=
SEED ?= 7
SETS ?= nab synth

.PHONY: demo up down test check fmt golden render bench bench-cost install tools static

## The main job, end to end: faults in, Slack and e-mail messages out. make demo AT="Sun 04:00"; MESSAGES=DIR saves what
## was sent for each fault.
demo: install
	@$(BIN)/simulator demo --seed $(SEED) $(if $(AT),--at "$(AT)") \
		$(if $(MESSAGES),--messages "$(MESSAGES)")

## The same stack, left running until Ctrl-C or `make down`.
up: install
	@$(BIN)/simulator up --seed $(SEED) --dir .run/up $(if $(AT),--at "$(AT)")

down: install
	@$(BIN)/simulator down --dir .run/up

## Everything, from nothing.
test: tools static
	@$(BIN)/pytest -m "not render"

## The gate before a commit: everything but the end-to-end tests.
check: tools static
	@$(BIN)/pytest -m "not e2e and not render" --numprocesses 2

static: install
	@$(BIN)/ruff format --check --quiet . || { echo "run: make fmt" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

fmt: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

## Rewrites the files in tests/golden and the dashboards; read the difference before committing.
golden: tools
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q -m "not e2e and not render"

## Draws the dashboards with Grafana's own component, into .run/render; needs node and npm.
render: install
	@cd tests/render && { cmp -s package-lock.json node_modules/.installed || { \
		nice npm ci --silent && cp package-lock.json node_modules/.installed; }; }
	@$(BIN)/pytest -m render

## Accuracy, behaviour and speed beside peers; needs the open bench (BENCH=../shared/bench).
## make bench SETS=all takes every set.
bench: install
	@$(BIN)/python tests/bench/accuracy.py --sets $(SETS) --jobs 2
	@$(BIN)/python tests/bench/behaviour.py
	@$(BIN)/python tests/bench/speed.py

## The whole cost, Prometheus' share included, beside the Grafana rules on real servers.
bench-cost: install
	@$(BIN)/python tests/bench/whole_cost.py

install:
	@$(PYTHON) scripts/install.py venv prometheus

tools: install
	@$(PYTHON) scripts/install.py compose browser postgres exporters
