from __future__ import annotations

from pathlib import Path

import pytest

from harness.ab import revisions
from harness.ab.revisions import Checkout, checkout_of
from harness.errors import RevisionError
from tests.harness.suite_in_git import git, new_repository


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    files = {"kept.py": "1\n", "changed.py": "1\n", "removed.py": "1\n", ".gitignore": "*.ignored\n"}
    return Checkout(new_repository(tmp_path / "project", files))


def test_a_working_tree_is_compared_as_it_stands_with_new_changed_and_removed_files(
    checkout: Checkout, tmp_path: Path
) -> None:
    (checkout.root / "changed.py").write_text("2\n")
    (checkout.root / "new.py").write_text("3\n")
    (checkout.root / "data.ignored").write_text("4\n")
    (checkout.root / "removed.py").unlink()
    before = git(checkout.root, "status", "--porcelain"), git(checkout.root, "rev-parse", "HEAD")
    found = checkout.working_tree()
    assert found.words.endswith("with 3 files changed: changed.py, new.py, removed.py)")
    (checkout.root / "new.py").write_text("edited meanwhile\n")
    with checkout.tree(found.commit, tmp_path / "tree") as tree:
        names = {path.name for path in tree.iterdir()}
        assert names == {".git", ".gitignore", "kept.py", "changed.py", "new.py"}
        assert (tree / "new.py").read_text() == "3\n"
    assert (git(checkout.root, "status", "--porcelain"), git(checkout.root, "rev-parse", "HEAD")) == before


def test_changes_that_are_staged_count_by_the_files_themselves(checkout: Checkout) -> None:
    (checkout.root / "changed.py").write_text("2\n")
    git(checkout.root, "add", "changed.py")
    (checkout.root / "changed.py").write_text("1\n")
    assert "(clean: " in checkout.working_tree().words


def test_large_files_that_git_does_not_know_are_refused(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "MAX_NEW_BYTES", 100)
    (checkout.root / "clips.npy").write_bytes(bytes(100))
    checkout.working_tree()
    (checkout.root / "more.npy").write_bytes(bytes(1))
    with pytest.raises(RevisionError, match=r"files that git does not track or ignore, such as clips\.npy"):
        checkout.working_tree()


def test_no_hook_of_the_user_s_runs_when_a_tree_is_laid_out(checkout: Checkout, tmp_path: Path) -> None:
    hook = checkout.root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch left_by_the_hook\nexit 1\n")
    hook.chmod(0o755)
    with checkout.tree(git(checkout.root, "rev-parse", "HEAD"), tmp_path / "tree") as tree:
        assert not (tree / "left_by_the_hook").exists()


def test_a_tree_goes_on_every_path(checkout: Checkout, tmp_path: Path) -> None:
    commit = git(checkout.root, "rev-parse", "HEAD")
    with pytest.raises(ZeroDivisionError), checkout.tree(commit, tmp_path / "tree") as tree:
        (tree / "left_behind.py").write_text(str(1 / 0))
    assert not (tmp_path / "tree").exists()
    assert len(git(checkout.root, "worktree", "list").splitlines()) == 1


def test_a_leftover_tree_is_replaced(checkout: Checkout, tmp_path: Path) -> None:
    git(checkout.root, "worktree", "add", "--detach", str(tmp_path / "tree"))
    (tmp_path / "tree" / "kept.py").write_text("old\n")
    with checkout.tree(git(checkout.root, "rev-parse", "HEAD"), tmp_path / "tree") as tree:
        assert (tree / "kept.py").read_text() == "1\n"


def test_inside_a_hook_git_is_asked_about_the_right_checkout(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_repository(tmp_path / "other", {"file": ""})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert checkout_of(checkout.root).root == checkout.root
    assert "(clean: " in checkout.working_tree().words


def test_a_file_whose_name_is_no_text_is_written_out(checkout: Checkout) -> None:
    (checkout.root / "näh.py").write_text("")
    (checkout.root / "b\udcff.py").write_text("")
    assert "n\xe4h.py" in checkout.working_tree().words
    assert r"b\udcff.py" in checkout.working_tree().words
