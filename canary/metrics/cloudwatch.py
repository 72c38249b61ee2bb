"""Amazon CloudWatch, by GetMetricData in its JSON protocol. Pure.

What it answers is what its documentation says. An error is named by `__type`, mostly in an answer of 400: too many requests and keys that
have expired too. Points of which there are none are left out, and an answer of 200 may say of each result that it is not complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from canary.checks.sources.cloudwatch import Cloudwatch, Metric
from canary.metrics.asking import NOT_AUTHORIZED, not_accepted
from canary.metrics.http import Request
from canary.metrics.http_answer import Answer, Senseless, number_in
from canary.metrics.points import MOST_EMPTY
from canary.metrics.signing import Scope
from canary.model.measurement import Malformed, Measurement

SERVICE = "monitoring"
_TARGET = ("X-Amz-Target", "GraniteServiceVersion20100801.GetMetricData")
_TYPE = "application/x-amz-json-1.0"
_RESULT = "result"
"""End of the id of the expression, which needs one."""

_LIMITED = frozenset(
    {"Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException"}
)
_UNKNOWN = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Names of errors that are about who asks, whatever the status is."""
_SERVERS = frozenset({"InternalFailure", "InternalServiceError", "InternalServiceFault", "ServiceUnavailable"})


class CloudwatchApi:
    """POST /, signed. Whole periods that are over are asked for: the one that runs has only a part of its values."""

    def request(self, source: Cloudwatch, now: datetime) -> Request:
        end = _end(source, now)
        periods = max(1, math.ceil(source.window / source.period))
        document = {
            "StartTime": end - periods * source.period,
            "EndTime": end,
            "ScanBy": "TimestampDescending",
            "MetricDataQueries": _queries(source),
        }
        content = (_TYPE, json.dumps(document, separators=(",", ":")).encode())
        scope = Scope(source.region, SERVICE)
        return Request("POST", f"{source.origin}/", (_TARGET,), content, scope, timed=True)

    def measurement(self, source: Cloudwatch, answer: Answer) -> Measurement:
        try:
            document = answer.json()
        except Senseless as error:
            return answer.refused() or answer.malformed("UnexpectedResult", str(error))
        said: Mapping[str, Any] = document if isinstance(document, dict) else {}
        if answer.status != 200:
            return _error(answer, said)
        try:
            return _numbers(source, answer, said)
        except Senseless as error:
            return answer.malformed("UnexpectedResult", str(error))


def _end(source: Cloudwatch, now: datetime) -> int:
    return int(now.timestamp()) // source.period * source.period


def _queries(source: Cloudwatch) -> list[dict[str, Any]]:
    alone = source.expression is None
    found = [_query(one, source.period, returned=alone) for one in source.metrics]
    if source.expression is not None:
        found.append(
            {"Id": _expressed(source), "Expression": source.expression, "Period": source.period, "ReturnData": True}
        )
    return found


def _expressed(source: Cloudwatch) -> str:
    """The id of the expression: longer than any, so another."""
    return max((one.identity for one in source.metrics), key=len, default="") + _RESULT


def _returned(source: Cloudwatch) -> frozenset[str]:
    """The ids of which results are asked for. Several results may have one: an expression may be a search."""
    if source.expression is not None:
        return frozenset({_expressed(source)})
    return frozenset(one.identity for one in source.metrics)


def _query(one: Metric, period: int, *, returned: bool) -> dict[str, Any]:
    metric = {
        "Namespace": one.namespace,
        "MetricName": one.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in one.dimensions],
    }
    return {
        "Id": one.identity,
        "MetricStat": {"Metric": metric, "Period": period, "Stat": one.stat},
        "ReturnData": returned,
    }


def _error(answer: Answer, said: Mapping[str, Any]) -> Measurement:
    kind = said.get("__type")
    name = kind.rpartition("#")[2].partition(":")[0] if isinstance(kind, str) else ""
    words = answer.words(said.get("message") or said.get("Message"))
    if answer.status == 429 or name in _LIMITED:
        return answer.unreachable(
            "RateLimited",
            f"{answer.answered}: too many requests of this account in the region; ask less often, by a longer interval",
        )
    if name in _UNKNOWN:
        told = f" ({name}{f': {words}' if words else ''})"
        return answer.unreachable(NOT_AUTHORIZED, f"{answer.answered}: {not_accepted(answer.shown)}{told}")
    if answer.status == 400 and name not in _SERVERS:
        return answer.malformed("BadQuery", words or f"{answer.answered}: it does not understand the query")
    return answer.refused() or answer.malformed("UnexpectedResult", f"{answer.answered}, and no result")


def _numbers(source: Cloudwatch, answer: Answer, said: Mapping[str, Any]) -> Measurement:
    """Raises Senseless."""
    results = said.get("MetricDataResults")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise Senseless(f"{answer.answered} without a list of results")
    if said.get("NextToken"):
        return answer.malformed("PartialAnswer", "the query selects more than one answer holds: ask for less")
    objection: Measurement | None = _objection(answer, said)
    end, wanted = _end(source, answer.asked), _returned(source)
    earliest = end - (MOST_EMPTY + 1) * source.period
    found = []
    for one in results:
        if not any(one.get("Id") == identity for identity in wanted):
            raise Senseless(f"{answer.answered} with a result that was not asked for")
        objection = objection or _objection(answer, one) or _incomplete(answer, one)
        last = _last(answer, one, earliest, end)
        if last is not None:
            found.append(last)
    if objection is not None:
        return objection
    if results and not found:
        return answer.no_data(f"no values in the last {MOST_EMPTY + 1} periods of {source.period} s, or in the window")
    return answer.numbers(found, "the query selects", "aggregate them, or use a condition over `values`")


def _objection(answer: Answer, one: Mapping[str, Any]) -> Malformed | None:
    """What a message says, of the whole answer or of one result: something was left out, or is no number."""
    messages = one.get("Messages", [])
    if not isinstance(messages, list):
        raise Senseless(f"{answer.answered} with messages that are none")
    for message in messages:
        code = message.get("Code") if isinstance(message, dict) else None
        if not isinstance(code, str):
            raise Senseless(f"{answer.answered} with a message that is none")
        words = answer.words(message.get("Value"))
        reason = "NotANumber" if code == "ArithmeticError" else "PartialAnswer"
        return answer.malformed(reason, f"{answer.words(code)}: {words or 'something was left out'}")
    return None


def _incomplete(answer: Answer, one: Mapping[str, Any]) -> Measurement | None:
    match one.get("StatusCode"):
        case "Complete":
            return None
        case "PartialData":
            return answer.malformed("PartialAnswer", "only a part of the values is there (PartialData): ask for less")
        case "Forbidden":
            told = f"{answer.answered}: {not_accepted(answer.shown)} for metrics of another account (Forbidden)"
            return answer.unreachable(NOT_AUTHORIZED, told)
        case "InternalError":
            return answer.unreachable("HTTPError", f"{answer.answered}, and that it could not find out (InternalError)")
        case _:
            raise Senseless(f"{answer.answered} with a result of which it does not say whether it is complete")


def _last(answer: Answer, one: Mapping[str, Any], earliest: float, end: float) -> float | None:
    """The latest value, if it is not of before `earliest` (seconds). Raises Senseless, also for one of `end` or later."""
    times, values = one.get("Timestamps"), one.get("Values")
    if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
        raise Senseless(f"{answer.answered} with values that have no times")
    points = []
    for time, value in zip(times, values, strict=True):
        at, number = number_in(time), _number(value)
        if at is None or number is None:
            raise Senseless(f"{answer.answered} with a value that is no number, or of no time")
        if at >= end:
            raise Senseless(f"{answer.answered} with a value of after the end of what was asked for")
        points.append((at, number))
    at, number = max(points, key=lambda point: point[0], default=(-math.inf, 0.0))
    return number if at >= earliest else None


_SPELT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _number(value: object) -> float | None:
    """As JSON has it; the protocol spells what JSON has not."""
    return _SPELT.get(value) if isinstance(value, str) else number_in(value)
