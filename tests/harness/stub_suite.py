"""The stub suite in a folder of its own, run by pytest as a user runs it."""

import json
import os

from harness.records.journal import read_journal
from tests import ROOT
from tests.forked import run_python

HERE = ROOT / "tests" / "harness"


# Only the plugin that is needed: the others take most of the time of such a small run.
PLUGINS = ("-p", "pytest_benchmark.plugin")


class StubSuite:
    """The stub suite in a folder of its own, under its own pytest.ini."""

    def __init__(self, folder):
        self.folder = folder
        ini = f"[pytest]\npythonpath = {ROOT}\n"
        ini += "addopts = --benchmark-timer=harness.measuring.clock.now -p no:cacheprovider\n"
        ini += "report = false\nwork_ledger = false\n"  # they take longer than such a run
        (folder / "pytest.ini").write_text(ini)
        (folder / "conftest.py").write_text('pytest_plugins = ("harness.session.plugin",)\n')
        (folder / "suite").mkdir()
        (folder / "suite" / "conftest.py").write_text((HERE / "stub_suite_conftest.py").read_text())
        (folder / "suite" / "test_stub.py").write_text((HERE / "stub_suite_tests.py").read_text())

    def run(self, *arguments, tests=("suite",), output="out", rounds=("--rounds=4",), **environment):
        words = (*PLUGINS, *tests, f"--output-dir={output}", *rounds, *arguments)
        return self.python("pytest", *words, **environment)

    def resume(self, *arguments, output="out", **environment):
        """Go on in the folder of a run that is there."""
        words = (*PLUGINS, "suite", f"--resume={output}", "--rounds=4", *arguments)
        return self.python("pytest", *words, **environment)

    def python(self, *words, **environment):
        """Run `python -m` with these words."""
        variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)} | environment
        return run_python(words, self.folder, variables)

    def record(self, output="out"):
        return read_journal(self.folder / output / "journal.jsonl")

    def json(self, name, output="out"):
        return json.loads((self.folder / output / name).read_text())

    def legacy(self, output="out"):
        (path,) = (self.folder / output).glob("*_results_n*.json")
        return json.loads(path.read_text())


def worked(result, model, stage):
    """Samples in the order in which a stage of a model worked on them."""
    return [line.split()[3] for line in result.stderr.splitlines() if line.startswith(f"worked {model} {stage} ")]


def failed_tests(result):
    lines = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    return {line.removeprefix("FAILED suite/test_stub.py::").split(" - ")[0] for line in lines}
