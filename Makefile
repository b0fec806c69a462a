# make demo        a ResNet-50 on its way to ONNX, step by step
# make test        lint, types and all tests
# make fuzz        random programs beside PyTorch: SECONDS=60 of them, from seed SEED=0 on
# make conformance torch's operators in every dtype, form and opset; ONLY a pattern of cases, resumed from RESULTS;
#                  docs/reference/conformance.md and accuracy.md say what was found
# make corpus      architectures of many packages: which compile, and are right, with the dims that their users leave open
# make docs        the documentation as a site, build/docs/docs/index.html; notebooks are run
# make reference   the generated pages of docs/, and what the documents there print
# All set up .venv first (corpus .venv-corpus); the second time that takes no time.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Two test workers share the cores; threads of their own would only get in each other's way.
test: export OMP_NUM_THREADS := 1

.PHONY: demo test fuzz conformance opsets corpus docs reference clean

demo: $(INSTALLED)
	$(RUN) examples/demo.py

test: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest -n 2

fuzz: $(INSTALLED)
	$(RUN) -m tests.fuzz $(or $(SECONDS),60) $(or $(SEED),0)

conformance: $(INSTALLED)
	$(RUN) -m tests.conformance $(or $(RESULTS),build/conformance.jsonl) '$(ONLY)'
	$(RUN) -m tests.conformance.tables $(or $(RESULTS),build/conformance.jsonl) docs/reference
	$(RUN) -m tests.conformance.accuracy docs/reference

opsets: $(INSTALLED)
	$(RUN) -m tests.opsets $(MODELS)

corpus: $(VENV)-corpus/.installed
	$(VENV)-corpus/bin/python -m benchmarks corpus

docs: $(VENV)/.docs
	$(RUN) -m sphinx -W --keep-going -c docs -b html . build/docs

reference: $(INSTALLED)
	$(RUN) -m fxonnx.tools.reference docs/reference
	$(RUN) -m tests.documents

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fxonnx needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-corpus/.installed: requirements.lock requirements-corpus.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)-corpus
	$(VENV)-corpus/bin/python -m pip install --quiet --requirement requirements.lock
	$(VENV)-corpus/bin/python -m pip install --quiet --no-deps --requirement requirements-corpus.lock
	$(VENV)-corpus/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.docs: $(INSTALLED) requirements-docs.lock
	$(RUN) -m pip install --quiet --no-deps --requirement requirements-docs.lock
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-corpus build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
