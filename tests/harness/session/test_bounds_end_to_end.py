"""What a run does where time, memory, the device or the disk comes to its end: the stub suite, as a user runs it."""

import pytest

from harness.records.journal import read_journal
from tests.harness.session.test_resume_end_to_end import lines, passes
from tests.harness.stub_suite import StubSuite, failed_tests, worked

OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. "
    "GPU 0 has a total capacity of 79.10 GiB of which 3.21 GiB is free."
)
# Appended to the stub suite's conftest.py: what its models raise, or wait for.
RAISES = """
class {name}(RuntimeError):
    pass

_take = ModelOfKnownSpeed.take

def take(self, stage, given):
    _take(self, stage, given)
    if (stage, sample_of(given).id) == ("prefill", "s1"):
        raise {name}({text!r})

ModelOfKnownSpeed.take = take
"""
WAITS = """
import time
_take = ModelOfKnownSpeed.take

def take(self, stage, given):
    _take(self, stage, given)
    if (stage, sample_of(given).id) == ("vision", "s1"):
        time.sleep(60)

ModelOfKnownSpeed.take = take
"""
FULL_DISK = """
import resource
from harness.session.session import Session

_append = Session.append

def append(self, line):
    if getattr(line, "sample", "") == "s1" and self.journal is not None and "STUB_ROOM" not in os.environ:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = (self.folder / "journal.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, size + 40))
    _append(self, line)

Session.append = append
"""
FULL_AT_THE_END = """
import resource
from harness.session.session import Session

_finish = Session.finish

def finish(self, status):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (self.folder / "journal.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    _finish(self, status)

Session.finish = finish
"""


@pytest.fixture
def suite(tmp_path):
    return StubSuite(tmp_path)


def add(suite, text):
    stub = suite.folder / "suite" / "conftest.py"
    stub.write_text(stub.read_text() + text)


def test_a_sample_that_takes_too_long_is_recorded_and_the_others_are_measured(suite):
    add(suite, WAITS)
    result = suite.run("-k", "whole and egpt", "--sample-timeout=2")
    assert result.returncode == 1
    found = {each.sample: each.failure for each in suite.record().passes if each.kind == "whole"}
    assert (found["s0"], found["s2"]) == (None, None)
    assert (found["s1"].stage, found["s1"].type) == ("vision", "SampleTimeoutError")
    assert "took longer than the 2 s that --sample_timeout allows" in result.stdout


def test_a_stage_that_takes_too_long_is_recorded_by_its_test_too(suite):
    add(suite, WAITS.replace('"vision"', '"load"'))
    result = suite.run("-k", "load and egpt", "--sample-timeout=2")
    assert result.returncode == 1
    (load,) = suite.record().stages
    assert [(each.sample, each.type) for each in load.failures] == [("s1", "SampleTimeoutError")]
    assert load.round_samples == ("s0", "s2") * 4


def test_a_gpu_out_of_memory_is_a_record_that_says_what_was_asked_and_free_and_the_run_goes_on(suite):
    add(suite, RAISES.format(name="OutOfMemoryError", text=OUT_OF_MEMORY))
    result = suite.run("-k", "whole")
    assert failed_tests(result) == {"test_whole[egpt-eager]", "test_whole[videollava-eager]"}
    failures = [each.failure for each in suite.record().passes if each.failure]
    assert [(each.sample, each.stage, each.type, each.text) for each in failures] == [
        ("s1", "prefill", "OutOfMemoryError", OUT_OF_MEMORY)
    ] * 2
    assert len([each for each in suite.record().passes if each.failure is None and each.kind == "whole"]) == 4


def test_a_gpu_that_is_lost_ends_the_process_before_it_takes_the_next_sample(suite):
    add(suite, RAISES.format(name="AcceleratorError", text="CUDA error: unspecified launch failure\nhint"))
    result = suite.run("-k", "whole and egpt", "--warmup_steps=0", "-s")
    assert result.returncode == 2
    assert worked(result, "egpt", "load") == ["s0", "s1"]
    assert "the GPU cannot be used any more by this process: CUDA error: unspecified launch failure" in result.stdout
    assert "advice: to resume: " in result.stdout
    assert [(each.sample, each.failure is None) for each in suite.record().passes] == [("s0", True), ("s1", False)]


def test_a_full_disk_ends_the_run_names_the_file_and_loses_nothing_that_was_written(suite):
    add(suite, FULL_DISK)
    result = suite.run("-k", "whole", "-s")
    assert result.returncode != 0
    assert "journal.jsonl: cannot be written (File too large); what it holds is intact" in result.stdout
    assert worked(result, "videollava", "load") == []  # no further test is begun
    journal = suite.folder / "out" / "journal.jsonl"
    assert journal.read_bytes().endswith(b"\n")
    assert [each.sample for each in read_journal(journal).passes] == ["s0"]
    again = suite.resume("-k", "whole", STUB_ROOM="yes")
    assert again.returncode == 0, again.stdout
    assert len(passes(suite)) == len(set(passes(suite))) == 6
    assert len(lines(suite, "attempt")) == 1


def test_the_status_that_is_printed_is_the_one_returned_where_the_disk_is_full_at_the_end(suite):
    add(suite, FULL_AT_THE_END)
    result = suite.run("-k", "whole and egpt")
    assert result.returncode == 1
    assert "exit status 1" in result.stdout
    assert "exit status 0" not in result.stdout


def test_as_many_samples_are_loaded_ahead_as_were_asked_for(suite):
    (suite.folder / "suite" / "test_stub.py").write_text(
        "import pytest\nfrom harness.stages import Length\n"
        "@pytest.mark.stage('throughput')\n"
        "def test_throughput(pipeline, engine, samples, recorder):\n"
        "    recorder.measure_throughput(pipeline, samples, engine=engine, length=Length(100))\n"
    )
    assert suite.run("-k", "egpt", "--throughput", "--prefetch=7").returncode == 0
    (entry,) = suite.json("benchmark.json")["benchmarks"]
    assert (entry["extra_info"]["prefetch"], entry["extra_info"]["loader_workers"]) == (7, 2)
