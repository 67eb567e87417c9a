"""The errors that harness raises for bad options, files and folders."""

import msgspec

JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Raised by msgspec for bytes that are not JSON, for JSON of another form, and for too deep nesting."""


class HarnessError(Exception):
    """Base of all errors of harness; its text names the culprit, what is wrong with it, and the way out."""


class OptionError(HarnessError):
    """An option of the command line or of pytest.ini has a value that it cannot have."""


class LimitsError(HarnessError):
    """The limits file cannot be used."""


class BaselineError(HarnessError):
    """A baseline cannot be read, or a session cannot become part of it."""


class ResultFileError(HarnessError):
    """A journal, a run record or a legacy result cannot be read."""


class RunFolderError(HarnessError):
    """The folder for a run's files cannot be made, or not written to."""


class ResumeError(HarnessError):
    """A run cannot be resumed: it is finished, or it measured something else."""


class RevisionError(HarnessError):
    """Git has no such revision, or failed."""


class SessionError(HarnessError):
    """A session in a fresh process was cut short, or measured something else."""

    commit = ""  # the revision whose session was cut short; empty where no revision is to blame
