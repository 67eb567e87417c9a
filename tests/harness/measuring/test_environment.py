from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from harness.measuring import environment
from tests import ROOT


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first", "--no-gpg-sign")
    return tmp_path


def test_stable_part_is_the_same_each_time_and_is_json() -> None:
    first = environment.stable_environment("cpu")
    assert environment.stable_environment("cpu") == first
    assert json.loads(json.dumps(first)) == first


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}, {"WORLD_SIZE": ""}])
def test_a_job_s_variables_make_no_ranks_without_torchrun(variables: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TORCHELASTIC_RUN_ID", raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        alone = environment.stable_environment("cpu")
        patch.setenv("RANK", "0")
        patch.setenv("TORCHELASTIC_RUN_ID", "none")
        patch.setenv("WORLD_SIZE", "4")
        of_torchrun = environment.stable_environment("cpu")
    assert (alone["world_size"], alone["ranks_per_node"], of_torchrun["world_size"]) == (1, 1, 4)


def test_stable_part_names_machine_and_libraries() -> None:
    found = environment.stable_environment("cpu")
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert 1 <= found["usable_cores"] <= psutil.cpu_count()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["libraries"]["numpy"] == metadata.version("numpy")
    assert set(found["libraries"]) == set(environment.LIBRARIES)
    assert found["gpu"] is None


def test_what_changes_from_moment_to_moment_is_not_in_the_stable_part() -> None:
    stable, volatile = environment.stable_environment("cpu"), environment.volatile_environment("cpu")
    assert volatile.keys() >= {"load_average", "available_memory_bytes", "git", "command", "host"}
    assert not stable.keys() & volatile.keys()
    assert json.dumps(volatile)


def test_a_library_that_is_not_there_has_no_version() -> None:
    assert environment.version("no-such-library-anywhere") is None
    assert environment.version("pytest") == pytest.__version__


def test_clean_checkout_has_its_commit_and_is_not_dirty(checkout: Path) -> None:
    found = environment.git_state(checkout)
    assert found is not None
    assert len(found["commit"]) == 40
    assert found["dirty"] is False


@pytest.mark.parametrize("name", ["file", "new"])
def test_a_changed_and_a_new_file_make_it_dirty(name: str, checkout: Path) -> None:
    (checkout / name).write_text("two")
    found = environment.git_state(checkout)
    assert found is not None
    assert found["dirty"] is True


def changes(checkout: Path) -> str:
    found = environment.git_state(checkout)
    assert found is not None
    return str(found["changes"])


def test_what_changes_the_program_is_told_apart_and_nothing_else(checkout: Path) -> None:
    assert changes(checkout) == ""
    (checkout / "results.json").write_text("one")
    assert changes(checkout) == ""
    (checkout / "new.py").write_text("one")
    one = changes(checkout)
    (checkout / "new.py").write_text("two")
    two = changes(checkout)
    (checkout / "file").write_text("two")
    assert len({"", one, two, changes(checkout)}) == 4
    assert changes(checkout) == changes(checkout)


def test_there_is_no_git_state_outside_a_checkout_or_without_git(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path.parent
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(outside.parent))
    assert environment.git_state(outside) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_state(checkout) is None


def test_processor_has_a_name() -> None:
    assert isinstance(environment.cpu_name(), str)


def test_learning_the_conditions_imports_no_library_that_is_measured() -> None:
    code = (
        "import sys, harness.measuring.environment as e; e.stable_environment('cpu'); e.volatile_environment('cpu'); "
        "print({'torch', 'transformers', 'numpy', 'av', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
