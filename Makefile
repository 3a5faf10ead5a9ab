# Sets up a virtual environment with the loop built in it, and runs things there.
#
#   make serve     an HTTP server on the loop (uvicorn with examples/asgi_app.py)
#   make test      all tests
#   make examples  every example, each checked
#   make docs      the documentation as a site, in build/site
#   make clean     removes the environment and what was built
#
# make test PYTHON=python3.12 VENV=.venv-3.12 takes another Python.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000

SOURCES := $(wildcard uring_loop/*/*.p[yx][xd] uring_loop/*.c include/*.h) setup.py \
	pyproject.toml
PIP := $(VENV)/bin/pip --disable-pip-version-check install

.PHONY: serve test examples docs clean

serve: $(VENV)/server
	@echo 'Try it: curl http://$(HOST):$(PORT)/'
	$(VENV)/bin/uvicorn --loop uring_loop:new_event_loop --host $(HOST) \
		--port $(PORT) examples.asgi_app:app

test: $(VENV)/tests
	PATH="$(abspath $(VENV))/bin:$$PATH" python -m pytest

examples: $(VENV)/examples
	$(VENV)/bin/python examples/run_all.py

docs: $(VENV)/docs
	$(VENV)/bin/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo 'Open build/site/index.html'

# Built in place, so that Python finds the compiled modules in this folder, too.
$(VENV)/built: $(SOURCES)
	@echo 'Compiling the loop: some minutes, in which pip shows that it is busy.'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@echo 'The loop is built. What it finds here: $(VENV)/bin/python -m uring_loop'
	touch $@

$(VENV)/tests: $(VENV)/built tests/requirements.txt
	$(PIP) --quiet -r tests/requirements.txt
	touch $@

$(VENV)/server: $(VENV)/built
	$(PIP) --quiet 'uvicorn>=0.36' httptools
	touch $@

$(VENV)/examples: $(VENV)/built examples/requirements.txt
	$(PIP) --quiet -r examples/requirements.txt
	touch $@

$(VENV)/docs: $(VENV)/built docs/requirements.txt
	$(PIP) --quiet -r docs/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info uring_loop/*.so uring_loop/*/*.c
