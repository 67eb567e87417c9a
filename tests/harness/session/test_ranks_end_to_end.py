"""The stub suite under torchrun, as a user starts it: two ranks of one agent or of two, one killed or failing."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.session.test_resume_end_to_end import without_times
from tests.harness.stub_suite import PLUGINS, StubSuite

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2")


# As on two nodes, with one rank on each; the port is free a moment before.
NODES = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=2", "--rdzv-backend=c10d")


class SeveralRanks(StubSuite):
    """Run by torchrun: `run` returns when it has, `merge` judges what the ranks have recorded."""

    def run_by_ranks(self, *arguments, torchrun=TORCHRUN, **environment):
        command = [sys.executable, *torchrun, "-m", "pytest", *PLUGINS, "suite", "--output-dir=out", *arguments]
        variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment
        return subprocess.run(
            command, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=300, check=False
        )

    def run_by_nodes(self, *arguments, environments):
        with socket.socket() as found, ThreadPoolExecutor() as threads:
            found.bind(("localhost", 0))
            torchrun = (*NODES, "--rdzv-id=nodes", f"--rdzv-endpoint=localhost:{found.getsockname()[1]}")
            found.close()
            nodes = [
                threads.submit(self.run_by_ranks, *arguments, torchrun=torchrun, **environment)
                for environment in environments
            ]
        return [node.result() for node in nodes]

    def merge(self):
        return self.python("harness", "merge", "out")

    def lines(self):
        files = sorted((self.folder / "out").glob("journal*.jsonl"))
        return {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in files}

    def passes(self):
        lines = [line for of_rank in self.lines().values() for line in of_rank if line["record"] == "pass"]
        return [(line["model"], line["kind"], line["sample"]) for line in lines if line["kind"] == "whole"]


@pytest.fixture
def suite(tmp_path):
    return SeveralRanks(tmp_path)


@pytest.mark.slow
def test_a_rank_that_is_killed_is_healed_by_torchruns_restart_alone(suite):
    assert suite.run("-k", "whole", output="undisturbed").returncode == 0
    result = suite.run_by_ranks(STUB_KILL="videollava:decode:s0:1")
    assert result.returncode == 0, result.stderr
    assert len(suite.passes()) == len(set(suite.passes())) == 6
    # A rank that starts slowly may find the others killed before it has written a line; all are started once more.
    for journal in suite.lines().values():
        assert [line["restart"] for line in journal if line["record"] == "attempt"][-1] == 1
    merged = suite.merge()
    assert merged.returncode == 0, merged.stderr
    assert "exit status 0" in merged.stdout
    assert without_times(suite.legacy()) == without_times(suite.legacy("undisturbed"))
    assert suite.json("run.json")["end"]["exit_status"] == 0
    outcomes = {each.test.partition("::")[2]: each for each in suite.record().outcomes}
    assert outcomes["test_load[egpt]"].outcome == "deselected"
    assert "under torchrun only whole passes" in outcomes["test_load[egpt]"].reason


@pytest.mark.slow
def test_two_nodes_of_which_one_loses_its_rank_measure_every_sample_once(suite):
    """The other node's torchrun starts its rank again as well, and counts no failure."""
    assert suite.run("-k", "whole", output="undisturbed").returncode == 0
    lost, other = {"STUB_KILL": "egpt:decode:*"}, {"STUB_WAIT": "egpt:decode:*"}
    environments = [each | {"STUB_PAUSE_S": "0.1"} for each in (lost, other)]
    results = suite.run_by_nodes("--warmup_steps=0", environments=environments)
    assert [result.returncode for result in results] == [0, 0], results[0].stderr + results[1].stderr
    attempts = [line for of_rank in suite.lines().values() for line in of_rank if line["record"] == "attempt"]
    assert [line["restart"] for line in attempts if line["restart"]] == [1]
    assert len(suite.passes()) == len(set(suite.passes())) == 6
    assert suite.merge().returncode == 0
    assert without_times(suite.legacy()) == without_times(suite.legacy("undisturbed"))


@pytest.mark.slow
def test_a_sample_that_fails_is_a_record_to_the_ranks_and_a_failure_to_merge(suite):
    ini = suite.folder / "pytest.ini"
    ini.write_text(ini.read_text().replace("-p no:cacheprovider", ""))
    result = suite.run_by_ranks("-k", "egpt", STUB_FAIL="prefill:s1", STUB_LIMITS="eager.speedup.videollava.total=9")
    assert result.returncode == 0, result.stderr
    assert {line["restart"] for line in suite.lines()["journal.1.jsonl"] if line["record"] == "attempt"} == {0}
    assert len(suite.passes()) == 3
    merged = suite.merge()
    assert merged.returncode == 1
    assert suite.json("run.json")["end"]["reason"] == "a test failed or a limit was broken"
    assert "prefill of sample 's1' failed" in merged.stdout
    assert suite.json("run.json")["verdicts"][0]["state"] == "not run"
    assert (suite.folder / ".pytest_cache" / "v" / "cache" / "nodeids").exists()
    assert (suite.folder / ".pytest_cache" / "rank-1" / "v" / "cache" / "nodeids").exists()
