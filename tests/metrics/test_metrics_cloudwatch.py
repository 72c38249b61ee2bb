"""CloudWatch: moto, which checks signatures and rights, and what it could answer besides by its documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx
from moto_kit import REGION, moto
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.cloudwatch import Cloudwatch, Metric
from canary.metrics.apis import APIS
from canary.metrics.credentials import KeyPair
from canary.metrics.hosts import Hosts
from canary.metrics.http import HttpProvider
from canary.metrics.port import Query
from canary.metrics.signing import Scope, signature
from canary.model.measurement import Malformed, Measurement, NoData, Sample, Unreachable

TEAM = "team-shop"
IDENTITY, SECRET, TOKEN = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "FwoGZXIvYXdzEXAMPLETOKEN==",
)
ERRORS = Metric("errors", "Shop", "Errors", "Sum", (("Service", "shop-canary"),))
REQUESTS = replace(ERRORS, identity="requests", name="Requests")
SOURCE = Cloudwatch(REGION, (ERRORS,), None, 60, Auth("aws", namespace=TEAM, signs=True), window=300.0)
HOST = "monitoring.eu-west-1.amazonaws.com"

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
END = int(NOW.timestamp()) // 60 * 60
"""The end of the last minute that is over."""


@pytest.mark.e2e
async def test_moto_that_checks_who_asks() -> None:
    """Its numbers, for who may read them: the latest period that is over. Everybody else by what is wrong with them."""
    now = datetime.now(UTC)
    minute = int(now.timestamp()) // 60 * 60

    def at(metric: Metric, minutes: int, value: float, service: str = "shop-canary") -> dict[str, Any]:
        """A value of so many minutes ago."""
        dimensions = [{"Name": "Service", "Value": service}]
        return {
            "MetricName": metric.name,
            "Dimensions": dimensions,
            "Timestamp": minute - 60 * minutes + 10,
            "Value": value,
        }

    data = [at(ERRORS, 0, 100), at(ERRORS, 1, 2), at(ERRORS, 1, 1), at(ERRORS, 2, 5), at(ERRORS, 1, 50, "shop-stable")]
    data += [at(REQUESTS, 1, 40), at(REQUESTS, 2, 50), at(replace(ERRORS, name="Old"), 9, 1)]
    of_five = replace(ERRORS, name="OfFive")
    data += [at(of_five, minute // 60 % 5 + 2, 7)]  # in the last five minutes that are over
    vault = Vault()
    async with moto("Shop", *data) as server:

        async def ask(source: Cloudwatch, keys: KeyPair = server.reader) -> Measurement:
            """By somebody new, who does not know yet what time it is there: one minute may end while this asks."""
            vault.now += 10  # what was read before is old
            vault.put_all(TEAM, "aws", {"access-key-id": keys.identity, "secret-access-key": keys.secret})
            query = Query(replace(source, address=server.url), timeout=10, tenant=(TEAM, "shop"))
            hosts = Hosts.read(["127.0.0.1"])
            provider = HttpProvider(APIS, hosts, secrets=vault.secrets, time_of_day=lambda: now)
            try:
                return await provider.measure(query, now)
            finally:
                await provider.close()

        found = await ask(SOURCE)
        assert isinstance(found, Sample), found
        assert (found.value, found.query) == (3.0, 'Sum(Shop Errors{Service="shop-canary"})')
        averaged = await ask(replace(SOURCE, metrics=(replace(ERRORS, stat="Average"),)))
        assert isinstance(averaged, Sample), averaged
        assert averaged.value == 1.5
        expressed = await ask(replace(SOURCE, metrics=(ERRORS, REQUESTS), expression="requests"))
        assert isinstance(expressed, Sample), expressed
        assert expressed.value == 40.0
        five = await ask(replace(SOURCE, metrics=(of_five,), period=300, window=300.0))
        assert isinstance(five, Sample), five
        assert five.value == 7.0
        assert isinstance(await ask(replace(SOURCE, metrics=(replace(ERRORS, name="Nothing"),))), NoData)
        # What is too old is no number of now, though it is within the window.
        old = replace(SOURCE, metrics=(replace(ERRORS, name="Old"),), window=1200.0)
        assert isinstance(await ask(old), NoData)

        for keys in (server.stranger, KeyPair(server.reader.identity, "wrong"), KeyPair("AKIANOBODY", "wrong")):
            refused = await ask(SOURCE, keys)
            assert isinstance(refused, Unreachable), refused
            assert (refused.reason, "does not accept Secret aws" in refused.message) == ("NotAuthorized", True)


VECTORS = {
    "get": ("GET", {}, b"", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post": ("POST", {}, b"", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "a body": (
        "POST",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"Param1=value1",
        "",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "temporary keys": (
        "POST",
        {},
        b"",
        (
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/"
            "qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38"
            "xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
        ),
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
}
"""Of Amazon's test suite for Signature Version 4: get-vanilla, post-vanilla, post-x-www-form-urlencoded, post-sts-header-before."""


@pytest.mark.parametrize("name", VECTORS)
def test_signatures_are_those_that_amazon_published(name: str) -> None:
    method, headers, body, token, expected = VECTORS[name]
    keys = KeyPair("AKIDEXAMPLE", SECRET, token)
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    url = httpx.URL("https://example.amazonaws.com/")
    made = signature(method, url, headers, body, keys, Scope("us-east-1", "service"), at)
    assert made["Authorization"].endswith(f"Signature={expected}")
    assert SECRET not in repr((made, keys))


class Asked:
    """What came of a question, and the requests as they were sent."""

    def __init__(self, found: Measurement, calls: respx.CallList) -> None:
        self.found = found
        self.requests = [call.request for call in calls]


async def ask(
    source: Cloudwatch,
    answer: httpx.Response,
    *,
    many: bool = False,
    hosts: str = HOST,
    token: str | None = TOKEN,
    only: dict[str, str] | None = None,
    **data: str,
) -> Asked:
    vault = Vault()
    held = {"access-key-id": IDENTITY, "secret-access-key": SECRET} | (
        {} if token is None else {"session-token": token}
    )
    vault.put_all(TEAM, "aws", {**held, **data} if only is None else only, hosts)
    allowed = Hosts.read([".amazonaws.com", ".amazonaws.com.cn"])
    provider = HttpProvider(APIS, allowed, secrets=vault.secrets, time_of_day=lambda: NOW)
    try:
        with respx.mock(assert_all_called=False) as router:
            router.post(url__startswith="https://").return_value = answer
            query = Query(source, timeout=5, many=many, tenant=(TEAM, "shop"))
            return Asked(await provider.measure(query, NOW), router.calls)
    finally:
        await provider.close()


def result(*values: Any, ago: int = 1, status: str | None = "Complete", **more: Any) -> dict[str, Any]:
    """Values of one minute each, the latest first; that is of so many minutes before the end."""
    times = [float(END - 60 * (ago + index)) for index in range(len(values))]
    found = {"Id": "errors", "Label": "Errors", "Timestamps": times, "Values": list(values), "StatusCode": status}
    return {name: value for name, value in {**found, **more}.items() if value is not None}


def ok(*results: Any, **more: Any) -> httpx.Response:
    """As the documentation of GetMetricData has it."""
    return httpx.Response(200, json={"MetricDataResults": list(results), "Messages": [], **more})


def error(name: str, words: str = "", status: int = 400, **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"__type": f"com.amazonaws.cloudwatch#{name}", "message": words, **more})


async def test_whole_periods_that_are_over_are_asked_for() -> None:
    """Of the period that runs there is a part only. The expression says which number is meant, and the request is signed with the token."""
    source = replace(SOURCE, metrics=(ERRORS, REQUESTS), expression="errors / requests")
    asked = await ask(source, ok(result(0.5, 0.1, Id="requestsresult")))
    assert asked.found == Sample(0.5, NOW, source.text, (0.5,))
    (request,) = asked.requests
    assert (request.method, str(request.url)) == ("POST", f"https://{HOST}/")
    assert request.headers["x-amz-target"] == "GraniteServiceVersion20100801.GetMetricData"
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert request.headers["x-amz-security-token"] == TOKEN
    assert (
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
        in request.headers["authorization"]
    )
    assert f"Credential={IDENTITY}/20260102/eu-west-1/monitoring/aws4_request" in request.headers["authorization"]
    assert SECRET not in repr((request.headers.raw, request.content))
    document = json.loads(request.content)
    assert (document["StartTime"], document["EndTime"]) == (END - 300, END)
    first, second, expressed = document["MetricDataQueries"]
    assert first == {
        "Id": "errors",
        "ReturnData": False,
        "MetricStat": {
            "Metric": {
                "Namespace": "Shop",
                "MetricName": "Errors",
                "Dimensions": [{"Name": "Service", "Value": "shop-canary"}],
            },
            "Period": 60,
            "Stat": "Sum",
        },
    }
    assert (second["Id"], second["ReturnData"]) == ("requests", False)
    assert (expressed["Expression"], expressed["ReturnData"]) == ("errors / requests", True)
    assert expressed["Id"] not in ("errors", "requests")


async def test_long_lived_keys_have_no_token() -> None:
    (request,) = (await ask(SOURCE, ok(result(1.0)), token=None)).requests
    assert "x-amz-security-token" not in request.headers


async def test_a_secret_for_other_hosts_signs_nothing() -> None:
    """A signature is good for a quarter of an hour, wherever it was sent."""
    for source, hosts in ((SOURCE, "monitoring.us-east-1.amazonaws.com"), (replace(SOURCE, region="cn-north-1"), HOST)):
        asked = await ask(source, ok(result(1.0)), hosts=hosts)
        assert isinstance(asked.found, Malformed)
        assert asked.found.reason == "SecretForOthers"
        assert asked.requests == []


async def test_nobody_is_asked_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node, a service account or the environment would give is not the check's: without a Secret's keys nothing is sent anywhere."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHECONTROLLER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-controller")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token")
    asked = await ask(SOURCE, ok(result(1.0)), only={"token": "of-something-else"})
    assert isinstance(asked.found, Malformed)
    assert (asked.found.reason, "has no key access-key-id" in asked.found.message) == ("BadSecret", True), asked.found
    assert asked.requests == []
    for request in (await ask(SOURCE, ok(result(1.0)))).requests:
        assert f"Credential={IDENTITY}/" in request.headers["authorization"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"secret-access-key": "a b"}, "key secret-access-key of Secret aws"),
        ({"session-token": ""}, "key session-token of Secret aws"),
        ({"access-key-id": "AKIA\nX-Evil: 1"}, "nothing else, on one line"),
    ],
)
async def test_keys_that_are_none(data: dict[str, str], words: str) -> None:
    asked = await ask(SOURCE, ok(result(1.0)), **data)
    assert isinstance(asked.found, Malformed)
    assert (asked.found.reason, words in asked.found.message) == ("BadSecret", True), asked.found
    assert asked.requests == []


DIVIDED = {
    "Code": "ArithmeticError",
    "Value": "One or more data-points have been dropped due to non-numeric values (NaN)",
}


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "words"),
    [
        (ok(), NoData, "NoData", "selects nothing"),
        (ok(result()), NoData, "NoData", "no values in the last 4 periods of 60 s"),
        (ok(result(1, ago=5)), NoData, "NoData", "no values in the last 4 periods of 60 s"),
        (ok(result(1), result(2)), Malformed, "SeveralSeries", "2 values"),
        (ok(result("NaN")), Malformed, "NotANumber", "a number that is none"),
        (ok(result("Infinity")), Malformed, "NotANumber", "a number that is none"),
        (
            httpx.Response(200, text=json.dumps({"MetricDataResults": [result(float("nan"))]})),
            Malformed,
            "NotANumber",
            "",
        ),
        (ok(result(Messages=[DIVIDED])), Malformed, "NotANumber", "have been dropped"),
        (ok(result(1, Messages=[DIVIDED])), Malformed, "NotANumber", "have been dropped"),
        (ok(result(1, status="PartialData")), Malformed, "PartialAnswer", "PartialData"),
        (ok(result(1), NextToken="x"), Malformed, "PartialAnswer", "more than one answer holds"),
        (
            ok(result(1), Messages=[{"Code": "MaxMetricsExceeded", "Value": "too many"}]),
            Malformed,
            "PartialAnswer",
            "MaxMetricsExceeded: too many",
        ),
        (ok(result(1, status="InternalError")), Unreachable, "HTTPError", "InternalError"),
        (ok(result(1, status="Forbidden")), Unreachable, "NotAuthorized", "metrics of another account"),
        (ok(result(1, status=None)), Malformed, "UnexpectedResult", "whether it is complete"),
        (ok(result("1")), Malformed, "UnexpectedResult", "no number"),
        (ok(result(True)), Malformed, "UnexpectedResult", "no number"),
        (ok(result(1, Timestamps=[])), Malformed, "UnexpectedResult", "no times"),
        (ok(result(1, Timestamps=["2026-01-02"])), Malformed, "UnexpectedResult", "of no time"),
        (ok(result(0.9, 0.0, Timestamps=[END - 60, END + 10**9])), Malformed, "UnexpectedResult", "after the end"),
        (ok(result(0.0, ago=0)), Malformed, "UnexpectedResult", "after the end of what was asked for"),
        (ok(result(0.0, Id="somebody_else")), Malformed, "UnexpectedResult", "a result that was not asked for"),
        (ok(result(0.0, Id=None)), Malformed, "UnexpectedResult", "a result that was not asked for"),
        (ok(result(0.0, Id=["errors"])), Malformed, "UnexpectedResult", "a result that was not asked for"),
        (ok(result(1, Messages=["x"])), Malformed, "UnexpectedResult", "a message that is none"),
        (ok(result(1, Messages=3)), Malformed, "UnexpectedResult", "messages that are none"),
        (ok(3), Malformed, "UnexpectedResult", "without a list of results"),
        (httpx.Response(200, json=[]), Malformed, "UnexpectedResult", "without a list of results"),
        (httpx.Response(200, text="<GetMetricDataResponse/>"), Malformed, "UnexpectedResult", "no JSON"),
        (error("ThrottlingException", "Rate exceeded"), Unreachable, "RateLimited", "ask less often"),
        (error("Throttling", "Rate exceeded"), Unreachable, "RateLimited", "ask less often"),
        (httpx.Response(429, json={}), Unreachable, "RateLimited", "ask less often"),
        (
            error("ExpiredTokenException", "The security token included in the request is expired"),
            Unreachable,
            "NotAuthorized",
            "does not accept Secret aws (ExpiredTokenException: The security token included in the request is expired)",
        ),
        (error("InvalidSignatureException", status=403), Unreachable, "NotAuthorized", "(InvalidSignatureException)"),
        (error("UnrecognizedClientException"), Unreachable, "NotAuthorized", "(UnrecognizedClientException)"),
        (httpx.Response(403, text="<ErrorResponse/>"), Unreachable, "NotAuthorized", "does not accept Secret aws"),
        (error("InvalidParameterCombination", "Start after end"), Malformed, "BadQuery", "Start after end"),
        (error("ValidationError"), Malformed, "BadQuery", "does not understand"),
        (httpx.Response(400, json={"Message": "Error in expression"}), Malformed, "BadQuery", "Error in expression"),
        (error("InternalServiceFault", "oops", 500), Unreachable, "HTTPError", "answered 500"),
        (error("InternalFailure", "oops"), Unreachable, "HTTPError", "answered 400"),
        (
            httpx.Response(302, headers={"Location": "https://evil.example.com"}),
            Unreachable,
            "HTTPError",
            "not followed",
        ),
    ],
)
async def test_what_cloudwatch_answers_besides(answer: httpx.Response, kind: type, reason: str, words: str) -> None:
    """Too many requests, keys that have expired, answers that are not complete, and no numbers: each by its name."""
    found = (await ask(SOURCE, answer)).found
    assert isinstance(found, kind), found
    assert (found.reason, words in found.message) == (reason, True), found  # type: ignore[attr-defined]


async def test_several_series_are_for_a_condition() -> None:
    """The latest value of each; whichever way they are ordered."""
    backwards = result(1, 2, Timestamps=[END - 120, END - 60])
    found = (await ask(SOURCE, ok(result(3, 4), backwards), many=True)).found
    assert isinstance(found, Sample)
    assert found.values == (3.0, 2.0)


@pytest.mark.parametrize("secret", [IDENTITY, SECRET, TOKEN])
async def test_words_that_repeat_a_key_are_withheld(secret: str) -> None:
    """In an error, in a message, and in what a message is called."""
    said = f"the key {secret} is wrong"
    for answer in (
        error("ExpiredToken", said),
        error("ValidationError", said),
        ok(result(1, Messages=[{"Code": secret, "Value": said}])),
    ):
        assert secret not in repr((await ask(SOURCE, answer)).found)
