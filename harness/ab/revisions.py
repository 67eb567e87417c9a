"""Revisions of a git checkout, each in a folder of its own; the user's working tree stays untouched."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import RevisionError
from harness.processes import git
from harness.records.quantities import counted

MAX_NEW_BYTES = 256 * 1024 * 1024
MAX_LIST = 8
# A commit needs an author; this name tells that no person wrote it.
AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "python -m harness ab"), ("EMAIL", "ab@localhost"))
}


class Revision(msgspec.Struct, frozen=True):
    """A commit, and its description."""

    commit: str
    words: str


class Checkout(msgspec.Struct, frozen=True):
    """A git checkout; `root` is its top folder."""

    root: Path

    def revision(self, name: str) -> Revision:
        """Return the commit that a branch, tag or hash names; raise RevisionError where there is none."""
        try:
            commit = git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except RevisionError:
            raise RevisionError(
                f"{name!r} is no revision of {self.root}: name a branch, a tag or a commit that `git log` shows there "
                "(`git fetch --unshallow` completes a shallow clone)"
            ) from None
        return Revision(commit, f"{name} ({self._shown(commit)})")

    def working_tree(self) -> Revision:
        """Return the working tree, with new files, as a commit; raise RevisionError where new files are too large."""
        head = git(self.root, "rev-parse", "HEAD")
        self._require_small_new_files()
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            git(self.root, "read-tree", "HEAD", env=index)
            git(self.root, "add", "--all", env=index)
            tree = git(self.root, "write-tree", env=index)
        changed = git(self.root, "diff-tree", "--name-only", "-r", "-z", head, tree).split("\0")[:-1]
        if not changed:
            return Revision(head, f"the working tree (clean: {self._shown(head)})")
        commit = git(self.root, "commit-tree", tree, "-p", head, "-m", "The working tree", env=AUTHOR)
        shown = _printable(", ".join(changed[:MAX_LIST]) + (", …" if len(changed) > MAX_LIST else ""))
        files = counted(len(changed), "file")
        return Revision(commit, f"the working tree ({self._shown(head, '%h')} with {files} changed: {shown})")

    @contextlib.contextmanager
    def tree(self, commit: str, folder: Path) -> Iterator[Path]:
        """Check a commit out in `folder` for the block; a leftover of a killed process is removed first."""
        self._remove(folder)
        try:
            git(self.root, "worktree", "add", "--quiet", "--detach", "--force", str(folder), commit)
            yield folder
        finally:
            self._remove(folder)

    def _remove(self, folder: Path) -> None:
        if folder.exists():
            with contextlib.suppress(RevisionError):  # git may not know the folder: it is removed below
                git(self.root, "worktree", "remove", "--force", "--force", str(folder))
            shutil.rmtree(folder, ignore_errors=True)
        git(self.root, "worktree", "prune")

    def _require_small_new_files(self) -> None:
        names = git(self.root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]
        sizes = {name: (self.root / name).lstat().st_size for name in names}
        if sum(sizes.values()) > MAX_NEW_BYTES:
            largest = max(sizes, key=lambda name: sizes[name])
            raise RevisionError(
                f"{self.root}: the working tree has {sum(sizes.values()) / 1e6:.0f} MB of files that git does not "
                f"track or ignore, such as {_printable(largest)}; commit the files that the comparison needs, and name "
                "the rest in .gitignore"
            )

    def _shown(self, commit: str, form: str = "%h %s") -> str:
        return git(self.root, "show", "--no-patch", f"--format={form}", commit)


def checkout_of(folder: Path) -> Checkout:
    """Return the checkout around `folder`; raise RevisionError where there is none or git is not installed."""
    try:
        return Checkout(Path(git(folder, "rev-parse", "--show-toplevel")))
    except RevisionError as error:
        raise RevisionError(f"{error}; revisions are compared in a git checkout of the suite") from error


def _printable(name: str) -> str:
    """Return a file's name with bytes that are not UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
