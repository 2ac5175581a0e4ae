# Two commands do the whole set-up on a fresh machine: `make demo` and `make test`.
# Each makes its own virtual environment; PYTHON chooses the interpreter (3.10 or newer).

PYTHON ?= python3
PIP_QUIET := --quiet --disable-pip-version-check
DEMO_DIR ?= demo

.PHONY: demo test docs coverage benchmark extension clean

.venv-demo/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install $(PIP_QUIET) --constraint constraints.txt --editable .
	touch $@

.venv-test/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install $(PIP_QUIET) --constraint constraints.txt --editable ".[test,docs]"
	touch $@

demo: .venv-demo/done
	.venv-demo/bin/qupath-hccmil demo $(DEMO_DIR)

# Two processes of tests fill two cores; a second thread of each would wait for the other's.
test: .venv-test/done
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	$(MAKE) docs
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest --numprocesses 2 --dist loadgroup

# Warnings are errors (not with --quiet, which hides them from --strict). Git ignores site/.
docs: .venv-test/done
	.venv-test/bin/mkdocs build --strict

coverage: .venv-test/done
	.venv-test/bin/python -m pytest --numprocesses 2 --dist loadgroup --cov --cov-report term

benchmark: .venv-test/done
	.venv-test/bin/python scripts/proofs/benchmark.py

# Compiles the classes of QuPath's extension anew (needs a JDK) and makes its jar in dist/.
JAVAC ?= javac
extension: .venv-test/done
	rm -f extension/jar/hccmil/*.class
	$(JAVAC) --release 17 -Xlint:all -Werror -proc:none -implicit:none \
		-sourcepath extension/stubs -d extension/jar extension/java/hccmil/*.java
	.venv-test/bin/python -m qupath_hccmil.qupath.extension.jar dist

clean:
	rm -rf .venv-demo .venv-test build dist site
