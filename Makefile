# Every target sets itself up: all it needs is Python with venv and pip. ARGS goes to pytest as it stands.

PYTHON ?= python3
ARGS ?=
TOPIC ?=

CODE := harness fixtures perf_tests tests conftest.py
TOPICS := $(patsubst tests/goals/test_%.py,%,$(sort $(wildcard tests/goals/test_*.py)))

# Two processes, a folder of tests in one of them (see tests/conftest.py), since its tests share what they set up;
# ARGS="-n 0" is none beside.
# Every warning is an error but pytest-benchmark's own advice, whose text depends on the machine.
TEST := -m pytest tests -n 2 --dist loadfile -W error -W default::pytest_benchmark.logger.PytestBenchmarkWarning --durations=15
# Long trainings, long fuzzing and other tests that take long, by their marker.
QUICK := -m "not slow" $(ARGS)
SLOW := -m slow $(ARGS)

.PHONY: help bench test test-slow test-kernels test-oldest measured format clean

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

bench: .venv/.complete  ## Measure every stage of every model: make bench ARGS="--max_samples 4"
	.venv/bin/python -m pytest perf_tests $(ARGS)

test: .venv/.complete  ## Check style and types, and test all but what is slow: make test ARGS="-k limits"
	.venv/bin/ruff check --quiet $(CODE)
	.venv/bin/ruff format --check --quiet $(CODE)
	.venv/bin/mypy --no-error-summary
	.venv/bin/python $(TEST) $(QUICK)

test-slow: .venv/.complete  ## The rest of the tests: trainings, fuzzing and others that take long
	.venv/bin/python $(TEST) $(SLOW)

test-kernels: .venv/.kernels  ## The kernels for few rows on the CPU, by Triton's interpreter, which takes 0.7 GB
	.venv/bin/python -m pytest tests/fixtures/engines/test_few_rows.py $(ARGS)

test-oldest: .venv-oldest/.complete  ## What make test tests, with the oldest transformers that is supported
	.venv-oldest/bin/python $(TEST) $(QUICK)

# Without a topic that exists there is nothing to set up for.
ifneq ($(filter $(TOPIC),$(TOPICS)),)
measured: .venv/.complete  ## Measure the goals of one topic into docs/measured/: make measured TOPIC=harness_cost
	.venv/bin/python -m pytest tests/goals/test_$(TOPIC).py $(ARGS)
else
measured:
	@echo 'make measured: there is no topic "$(TOPIC)"; give one of these as TOPIC=…: $(TOPICS)' >&2; exit 2
endif

format: .venv/.complete  ## Put the code into its one form, and repair what can be repaired without thought
	.venv/bin/ruff check --fix $(CODE)
	.venv/bin/ruff format $(CODE)

clean:  ## Remove the environments and all caches; results stay
	rm -rf .venv .venv-oldest .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last, and --clear removes it first: an interrupted set-up is begun anew.
.venv/.complete: constraints.txt
.venv-oldest/.complete: constraints-oldest.txt
.venv/.complete .venv-oldest/.complete: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: name one, as in make PYTHON=python3.12 …" >&2; exit 2; }
	@echo "Setting up $(@D), which takes a minute or more"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -c '$(DEPENDENCIES)' gpu test > $(@D)/requirements.txt
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement $(@D)/requirements.txt --constraint $(filter %.txt,$^)
	@touch $@

.venv/.kernels: .venv/.complete
	@.venv/bin/python -c '$(DEPENDENCIES)' kernels > .venv/kernels.txt
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement .venv/kernels.txt
	@touch $@

# The project runs from its checkout: its dependencies are installed, it is not.
define DEPENDENCIES
import sys, tomllib; \
project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
extras = project["optional-dependencies"]; \
print(*project["dependencies"], *(line for name in sys.argv[1:] for line in extras[name]), sep="\n")
endef
