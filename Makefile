# Two commands are enough on a fresh machine with Python 3.10 to 3.12, gcc and make: `make demo` and `make test`.
# Each makes the environment (.venv) first if it is missing or incomplete.
PY := .venv/bin/python
.PHONY: help env demo test lint bench

help:
	@echo 'make demo   train, test, submit and report on a small Adder FCOS: at most 10 minutes after installation'
	@echo 'make test   all tests'
	@echo 'make lint   ruff'
	@echo 'make bench  adder layers beside convolutions, about 12 minutes'
	@echo 'make env    the environment alone (.venv, about 20 minutes the first time)'

env:
	@tools/make_env.sh

demo: env
	@PATH="$(CURDIR)/.venv/bin:$$PATH" tools/mini_demo.sh

test: env
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: env
	$(PY) -m ruff check .

bench: env
	$(PY) tools/analysis_tools/benchmark_adder.py
