"""How a command ends: its exit code, and an error as one sentence that says what to do next."""

from __future__ import annotations

import errno
from enum import IntEnum

from canary.errors import (
    ApiError,
    CanaryError,
    ConfigError,
    Conflict,
    Forbidden,
    HistoryError,
    NotFound,
    NotServed,
    SandboxError,
    Throttled,
    Unavailable,
)


class ExitCode(IntEnum):
    """Exit codes that scripts may rely on; `canary --help` lists them."""

    OK = 0
    ERROR = 1
    USAGE = 2
    REFUSED = 3
    TIMEOUT = 4
    NOT_FOUND = 5
    FORBIDDEN = 6
    UNREACHABLE = 7
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANING = {
    ExitCode.OK: "done",
    ExitCode.ERROR: "something went wrong; the message says what",
    ExitCode.USAGE: "the command line, or a setting, makes no sense",
    ExitCode.REFUSED: "refused by the controller, or the run was rolled back (watch --exit)",
    ExitCode.TIMEOUT: "nobody answered in time; is the controller running?",
    ExitCode.NOT_FOUND: "no such Rollout, or canary is not installed in this cluster",
    ExitCode.FORBIDDEN: "your user may not do this",
    ExitCode.UNREACHABLE: "the API server did not answer, or not usefully; the sandbox is not up",
    ExitCode.INTERRUPTED: "ended with Ctrl-C",
}


class CliError(CanaryError):
    """An error whose text is ready for the reader."""

    def __init__(self, message: str, code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.code = code


def describe(error: Exception) -> tuple[str, ExitCode]:
    """The sentence and the exit code for any error that reaches the top."""
    match error:
        case CliError():
            return str(error), error.code
        case ConfigError():
            return str(error), ExitCode.USAGE
        case Forbidden(status=401):
            words = "the API server does not accept your credentials: they are missing, wrong, or have expired"
            return f"{words}; log in again, or choose another --context", ExitCode.FORBIDDEN
        case Forbidden():
            return f"not allowed: {error}; ask for that right, or choose another --context", ExitCode.FORBIDDEN
        case NotFound() | NotServed():
            return f"not found: {error}", ExitCode.NOT_FOUND
        case Unavailable(reason="NoCredentials"):
            return f"{error}; log in again, or choose another --context", ExitCode.FORBIDDEN
        case Unavailable(reason="Unreachable" | "Timeout", status=0):
            words = f"the API server cannot be reached: {error}"
            return f"{words}; is the cluster up, and is it the one of your --context?", ExitCode.UNREACHABLE
        case Unavailable() | Throttled():
            words = f"the API server is in trouble{f' ({error.status})' if error.status else ''}: {error}"
            return f"{words}; try again in a moment", ExitCode.UNREACHABLE
        case Conflict():
            return f"somebody else keeps writing the same object: {error}; try again", ExitCode.ERROR
        case HistoryError():
            words = (
                "which Prometheus is asked says --prometheus-url (CANARY_PROMETHEUS_URL), as it is reached from here"
            )
            return f"{error}; {words}", ExitCode.ERROR
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO | errno.EFBIG):
            where = f" to {error.filename}" if error.filename else ""
            return f"cannot write{where}: {error.strerror}; what was printed is not whole", ExitCode.ERROR
        case ApiError() | SandboxError() | CanaryError():
            return str(error), ExitCode.ERROR
        case _:
            words = f"unexpected {type(error).__name__}: {error}"
            return f"{words}; run again with --debug for the traceback, and please report it", ExitCode.ERROR
