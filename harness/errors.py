"""The errors that harness raises on bad input: what was asked for cannot be done."""

import msgspec

JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are not JSON, or JSON of another form or of endless depth."""


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
    """A fresh process that was to measure did not come to its end, or measured something else."""

    commit = ""  # the one whose own session did not come to its end; empty where no revision is to blame
