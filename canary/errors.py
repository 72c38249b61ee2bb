"""The tree of errors, and the one question that callers ask of it: can a retry help?

CanaryError
├── SpecError                 what was declared cannot work; only an edit helps
├── ShareError                a share that a pair of weights cannot express
├── RenderError               a query template that names something unknown
├── ApiError                  the API server said no
│   ├── NotFound        404   of the object that was asked for
│   ├── NotServed       404   of no object: the whole resource, or its version, is not there, or who answers is no API server
│   ├── AlreadyExists   409   reason AlreadyExists
│   ├── Conflict        409   somebody else wrote in between: read again, compute again
│   ├── Unprocessable   422   a `test` of a JSON Patch failed, or the object is invalid
│   ├── Gone            410   a resourceVersion too old: list again
│   ├── Forbidden       401, 403
│   ├── Refused         every other 4xx
│   ├── Throttled       429   (retry helps)
│   └── Unavailable     5xx, time-out, connection lost (retry helps)
├── StaleDecision             a write that is not sent: what it rests on is of before this process slept
├── BackendMissing            a write that is not sent: what it refers to is not there (retry may help)
├── NothingToRestore          a pod spec that is to be put back is nowhere to be found
├── WriteAltered              the API server kept something else than was written (retry may help)
├── ConfigError               settings, kubeconfig, flags
├── HistoryError              a Prometheus does not tell what it measured before
├── LeadershipLost            another controller does our work now
├── ServerSetBack             the API server's store is an earlier one than this process knows
└── SandboxError              a part of the sandbox did not come up
"""

from __future__ import annotations


class CanaryError(Exception):
    """Root of every error this package raises on purpose."""

    retryable: bool = False
    """Whether the very same call may succeed later without anybody editing anything."""


class SpecError(CanaryError):
    """What was declared cannot work. `field` is a path such as `spec.checks[1].args.limit`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class ShareError(CanaryError):
    """A share of traffic that the weights at hand cannot express exactly."""


class RenderError(CanaryError):
    """A query template that cannot be rendered; `variable` is the name that is unknown or malformed.

    `field` is the path of what is to blame below the check, such as `web.headers[0].value`; empty: that of the question's text.
    """

    def __init__(self, message: str, *, variable: str = "", field: str = "") -> None:
        super().__init__(message)
        self.variable = variable
        self.field = field


class StaleDecision(CanaryError):
    """A write that is not sent: it was decided before this process slept, or by a Lease that may be another's by now."""

    retryable = True


class BackendMissing(CanaryError):
    """A write that is not sent: it would send requests to a Service or port that is not there."""

    retryable = True


class NothingToRestore(CanaryError):
    """What a copy replaced is neither in its record nor in the history of the workload; the message says what to do."""


class WriteAltered(CanaryError):
    """The API server took a write and kept something else: admission changed it, or its definitions dropped a field."""

    retryable = True


def refusal(error: CanaryError) -> bool:
    """Whether somebody has to edit something before the same write goes through: a right, a policy, a webhook, what is written."""
    return isinstance(error, Forbidden | Refused | Unprocessable | WriteAltered)


class HistoryError(CanaryError):
    """A Prometheus does not tell what it measured before; in words that say what was asked."""


class ConfigError(CanaryError):
    """Settings, kubeconfig or flags that cannot be used; the message says what to do."""


class LeadershipLost(CanaryError):
    """Another controller has taken the Lease; this one has to end."""


class ServerSetBack(CanaryError):
    """The API server's store was set back, to a backup say: nothing that this process knows need be so. It has to begin anew."""


class SandboxError(CanaryError):
    """A part of the sandbox did not come up, or is not installed."""


class ApiError(CanaryError):
    """The API server answered with something other than success, or not at all.

    `status` is the HTTP code (0: no answer), `reason` the Status reason, `causes` its `details.causes`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes
        self.retry_after = retry_after


class NotFound(ApiError):
    """404 that names the object: it is not there."""


class NotServed(ApiError):
    """404 that names no object: the server has no such resource, or not in this version, or a balancer before it knows no way.

    It tells of no object that it is gone, so it is no NotFound, and who forgets what is gone does not forget upon this. Lists,
    watches and discovery, which are about no object, raise it where a kind is not there.
    """


class AlreadyExists(ApiError):
    """409 with reason AlreadyExists."""


class Conflict(ApiError):
    """409: the object moved between our read and our write."""

    retryable = True


class Unprocessable(ApiError):
    """422: a `test` operation failed, or the object would be invalid."""


class Gone(ApiError):
    """410: the resourceVersion is too old; list again."""


class Forbidden(ApiError):
    """401 or 403: the credentials do not allow this verb."""


class Refused(ApiError):
    """Any other 4xx."""


class Throttled(ApiError):
    """429: too many requests; `retry_after` in seconds when the server said it."""

    retryable = True


class Unavailable(ApiError):
    """5xx, a time-out or a lost connection. A write may or may not have taken effect."""

    retryable = True
