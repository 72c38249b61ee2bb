"""What a Rollout may declare, and what is refused; templates resolved; requests read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_kit import SPEC, changed
from pydantic import ValidationError

from canary.checks.resolve import resolve
from canary.errors import SpecError
from canary.model.checks import Check, OnUnknown
from canary.model.requests import Request, Verb, parse_request
from canary.model.rollout import Promotion, RolloutSpec, Trigger
from canary.model.status import RolloutStatus
from canary.model.templates import CheckTemplateSpec
from canary.model.times import format_time, parse_time


def spec(**changes: Any) -> RolloutSpec:
    return RolloutSpec.model_validate(changed(SPEC, **changes))


def test_the_defaults() -> None:
    """With workloads: started by revisions, promoted by copying, rolled back on failure."""
    found = spec()
    assert (found.trigger_mode, found.promotion_mode) == (Trigger.ON_REVISION, Promotion.COPY)
    assert (found.on_failure, str(found.accept_timeout), found.deadline, found.paused) == (
        "Rollback",
        "60s",
        None,
        False,
    )
    assert found.routes[0].kind == "HTTPRoute"


FOREIGN = {"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "c"}
CONFIGS = {"includes": ["configs"]}


@pytest.mark.parametrize(
    ("changes", "promotion", "comparable"),
    [
        ({}, Promotion.COPY, True),
        ({"workloads": {"stable": {"name": "s"}, "canary": {"kind": "DaemonSet", "name": "s"}}}, Promotion.COPY, True),
        ({"workloads": {"stable": {"name": "s"}, "canary": FOREIGN}}, Promotion.AWAIT, False),
        ({"workloads": {"stable": {**FOREIGN, "name": "s"}, "canary": FOREIGN}}, Promotion.AWAIT, True),
        ({"revision": CONFIGS}, Promotion.AWAIT, True),
        ({"revision": {}}, Promotion.COPY, True),
    ],
)
def test_what_is_only_read_is_not_copied_to(changes: dict[str, Any], promotion: Promotion, comparable: bool) -> None:
    """Nor is what names configs that count: then stable is awaited. Revisions are compared where one pod spec has one."""
    found = spec(**changes)
    assert found.workloads is not None
    assert (found.promotion_mode, found.workloads.comparable) == (promotion, comparable)


def test_the_plan_of_deployments_is_what_it_was() -> None:
    """What the plan of a run with Deployments comes to is what it came to before workloads had other kinds."""
    plan = {**SPEC, "steps": [{"weight": 10}], "stable": {"service": "s", "port": 80}}
    refs = {"stable": {"name": "stable"}, "canary": {"kind": "Deployment", "name": "canary"}}
    assert RolloutSpec.model_validate({**plan, "workloads": refs}).plan_hash() == "1020c33d2c"
    assert RolloutSpec.model_validate({**plan, "workloads": None}).plan_hash() == "7cf87c1c3f"


def test_the_defaults_without_workloads() -> None:
    """Without workloads nobody sees revisions: started by hand, ended by hand."""
    found = spec(workloads=None)
    assert (found.trigger_mode, found.promotion_mode) == (Trigger.MANUAL, Promotion.AWAIT)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no routes", {"routes": []}, "routes"),
    ("17 routes", {"routes": [{"name": f"r{n}"} for n in range(17)]}, "routes"),
    ("a route of an unknown kind", {"routes": [{"name": "r", "kind": "Ingress"}]}, "routes.0.kind"),
    ("no steps", {"steps": []}, "steps"),
    ("33 steps", {"steps": [{"weight": 1}] * 33}, "steps"),
    ("a weight of 101", {"steps": [{"weight": 101}]}, "steps.0.weight"),
    ("a weight that no share can be", {"steps": [{"weight": 100 / 3}]}, "steps.0.weight"),
    ("a weight of true", {"steps": [{"weight": True}]}, "steps.0.weight"),
    ("a hold in days", {"steps": [{"weight": 1, "hold": "1d"}]}, "steps.0.hold"),
    ("port 0", {"stable": {"service": "s", "port": 0}}, "stable.port"),
    ("a Service in capitals", {"stable": {"service": "S", "port": 80}}, "stable.service"),
    ("an unknown field", {"colour": "red"}, "colour"),
    ("an unknown field of a step", {"steps": [{"weight": 1, "wait": "5m"}]}, "steps.0.wait"),
    ("a step of another version", {"steps": [{"weight": 1, "gate": {"http": {}}}]}, "steps.0.gate"),
    *(
        (f"a Job with {what}", {"checks": [{"name": "a", "job": {"image": "x", what: value}}]}, f"checks.0.job.{what}")
        for what, value in {
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "hostNetwork": True,
            "envFrom": [{"secretRef": {"name": "s"}}],
            "securityContext": {"privileged": True},
            "runAsUser": 0,
        }.items()
    ),
    ("a Job without time", {"checks": [{"name": "a", "job": {"image": "x", "timeout": "0s"}}]}, "checks.0.job"),
    ("a Job of a day", {"checks": [{"name": "a", "job": {"image": "x", "timeout": "24h"}}]}, "checks.0.job"),
    (
        "a Job with a Secret",
        {"checks": [{"name": "a", "job": {"image": "x", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {}}}]}}]},
        "checks.0.job.env.0.valueFrom",
    ),
    ("an approval by nobody", {"steps": [{"weight": 1, "approval": {"by": {}}}]}, "steps.0.approval.by"),
    ("a gate of nothing", {"steps": [{"gate": {}}]}, "steps.0.gate"),
    (
        "a gate of hours and of a system",
        {"steps": [{"gate": {"window": {}, "http": {"url": "https://a.example.com"}}}]},
        "steps.0.gate",
    ),
    ("hours with an interval", {"steps": [{"gate": {"window": {}, "interval": "1m"}}]}, "steps.0.gate"),
    (
        "a policy for no timeout",
        {"steps": [{"gate": {"http": {"url": "https://a.example.com"}, "onTimeout": "Pause"}}]},
        "steps.0.gate",
    ),
    (
        "a gate with a number",
        {"steps": [{"gate": {"http": {"url": "https://a.example.com", "jsonPath": "$.n"}}}]},
        "steps.0.gate.http.jsonPath",
    ),
    ("a mirror of no share", {"steps": [{"mirror": {}}]}, "steps.0.mirror"),
    ("a mirror of nothing", {"steps": [{"mirror": {"percent": 0}}]}, "steps.0.mirror.percent"),
    ("a mirror of more than all", {"steps": [{"mirror": {"percent": 101}}]}, "steps.0.mirror.percent"),
    (
        "a fraction of more than all",
        {"steps": [{"mirror": {"fraction": {"numerator": 101}}}]},
        "steps.0.mirror.fraction",
    ),
    (
        "a mirror of two shares",
        {"steps": [{"mirror": {"percent": 20, "fraction": {"numerator": 1, "denominator": 5}}}]},
        "steps.0.mirror",
    ),
    ("a match of nothing", {"steps": [{"match": []}]}, "steps.0.match"),
    ("a match that asks for nothing", {"steps": [{"match": [{}]}]}, "steps.0.match.0"),
    ("a match of no headers", {"steps": [{"match": [{"headers": []}]}]}, "steps.0.match.0.headers"),
    (
        "a header without a value",
        {"steps": [{"match": [{"headers": [{"name": "a"}]}]}]},
        "steps.0.match.0.headers.0.value",
    ),
    (
        "a header that is none",
        {"steps": [{"match": [{"headers": [{"name": "a b", "value": "1"}]}]}]},
        "steps.0.match.0.headers.0.name",
    ),
    (
        "a header like a prefix",
        {"steps": [{"match": [{"headers": [{"name": "a", "value": "1", "type": "Prefix"}]}]}]},
        "steps.0.match.0.headers.0.type",
    ),
    (
        "nine matches",
        {"steps": [{"match": [{"headers": [{"name": "a", "value": "1"}]}] * 9}]},
        "steps.0.match",
    ),
    ("regular expressions of nothing", {"steps": [{"weight": 1, "allowRegexPaths": True}]}, "steps.0"),
    ("an unknown promotion", {"promotion": "copy"}, "promotion"),
    ("an unknown policy", {"checks": [{"name": "a", "onNoData": "Maybe"}]}, "checks.0.onNoData"),
    ("a negative failureLimit", {"checks": [{"name": "a", "failureLimit": -1}]}, "checks.0.failureLimit"),
    ("17 checks", {"checks": [{"name": f"c{n}"} for n in range(17)]}, "checks"),
    (
        "a kind of another group without it",
        {"workloads": {"stable": {"name": "s"}, "canary": {"kind": "CloneSet", "name": "c"}}},
        "workloads.canary",
    ),
    ("a revision of something", {"revision": {"includes": ["images"]}}, "revision.includes.0"),
    ("only one workload", {"workloads": {"stable": {"name": "s"}}}, "workloads.canary"),
    (
        "an address that is none",
        {"checks": [{"name": "a", "prometheus": {"query": "q", "address": "ftp://x"}}]},
        "checks.0.prometheus.address",
    ),
]


@pytest.mark.parametrize(("changes", "where"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused(changes: dict[str, Any], where: str) -> None:
    """And the error names the field."""
    with pytest.raises(ValidationError) as caught:
        spec(**changes)
    places = [".".join(str(part) for part in error["loc"]) for error in caught.value.errors()]
    assert any(place.startswith(where) for place in places), places


def test_a_spec_is_frozen() -> None:
    """Nobody edits what a decision rests on."""
    with pytest.raises(ValidationError):
        spec().paused = True


def test_a_spec_is_written_as_it_was_read() -> None:
    """Through JSON and back: nothing gained, nothing lost."""
    found = spec()
    again = RolloutSpec.model_validate(json.loads(found.model_dump_json(by_alias=True)))
    assert again == found


BOUND = [
    ({"steps": [{"weight": 10, "match": [{"headers": [{"name": "a", "value": "1"}]}]}]}, True),
    ({"steps": [{"weight": 11}]}, True),
    ({"steps": [{"weight": 10, "mirror": {"percent": 20}}]}, True),
    ({"routes": [{"name": "other"}]}, True),
    ({"canary": {"service": "c2", "port": 80}}, True),
    ({"workloads": {"stable": {"name": "a"}, "canary": {"name": "b"}}}, True),
    ({"workloads": {"stable": {"name": "s"}, "canary": {"kind": "StatefulSet", "name": "c"}}}, True),
    ({"workloads": {"stable": {"kind": "Deployment", "name": "s"}, "canary": {"name": "c"}}}, False),
    ({"checks": None}, False),
    ({"onFailure": "Pause"}, False),
    ({"paused": True}, False),
    ({"deadline": "1h"}, False),
    ({"routes": [{"name": "shop", "kind": "HTTPRoute"}]}, False),
]


@pytest.mark.parametrize(("changes", "another"), BOUND)
def test_what_a_run_is_bound_to(changes: dict[str, Any], another: bool) -> None:
    """Routes, pair, workloads and steps are the plan; checks and policies may change under way."""
    assert (spec(**changes).plan_hash() != spec().plan_hash()) is another


def test_an_upgrade_starts_no_run_again() -> None:
    """The plan of a Rollout that uses nothing new has the hash that the first version gave it."""
    steps = [{"weight": 10, "hold": "10s"}, {"approval": {}}]
    plan = {
        "routes": [{"name": "shop"}],
        "stable": {"service": "s", "port": 80},
        "canary": {"service": "c", "port": 80},
    }
    assert RolloutSpec.model_validate({**plan, "steps": steps}).plan_hash() == "3a1d8f4822"


@pytest.mark.parametrize(
    ("mirror", "share"),
    [
        ({"percent": 20}, 20),
        ({"percent": 100}, 100),
        ({"fraction": {"numerator": 1}}, 1),
        ({"fraction": {"numerator": 1, "denominator": 3}}, Fraction(100, 3)),
    ],
)
def test_a_mirror_is_a_share_of_the_requests(mirror: dict[str, Any], share: Fraction) -> None:
    """In percent, exactly; a fraction counts hundredths unless it says otherwise."""
    (step,) = spec(steps=[{"mirror": mirror}]).steps
    assert step.mirror is not None
    assert (step.mirror.share, step.mirror.allow_unsafe_methods, step.kind) == (share, False, "mirror")


# -- templates ----------------------------------------------------------------------------------------------------

TEMPLATE: dict[str, Any] = {
    "args": [
        {"name": "limit", "required": True},
        {"name": "quantile", "default": "0.99"},
        {"name": "label"},
    ],
    "prometheus": {"query": "histogram_quantile({{ args.quantile }}, x)"},
    "threshold": {"max": "{{ args.limit }}"},
    "interval": "10s",
    "failureLimit": 2,
}


def resolved(template: dict[str, Any] | None = None, **check: Any) -> Any:
    document = {"template": {"name": "latency"}, **check}
    spec_ = CheckTemplateSpec.model_validate({**TEMPLATE, **(template or {})})
    return resolve(Check.model_validate(document), spec_, "spec.checks[1]")


def test_a_template_is_filled_in() -> None:
    """Arguments given, defaults where not, the name of the template, the limit as an exact number of seconds."""
    found = resolved(args={"limit": "300ms"})
    assert (found.name, found.judge.maximum, found.judge.minimum, found.limit) == (
        "latency",
        Fraction(3, 10),
        None,
        "<= 0.3",
    )
    assert found.args == {"limit": "300ms", "quantile": "0.99", "label": None}
    assert (str(found.settings.interval), found.settings.failure_limit, str(found.settings.window)) == ("10s", 2, "1m")


def test_how_many_failures_are_too_many_is_answered_once() -> None:
    """A check that answers it takes its template's answer back, in whichever way either of them put it."""
    found = resolved(args={"limit": "1"}, failures="2 of 5")
    assert (found.sliding.most, found.sliding.of, found.settings.failure_limit) == (2, 5, 0)
    found = resolved({"failureLimit": 0, "failures": "2 of 5"}, args={"limit": "1"}, failureLimit=1)
    assert (found.sliding, found.settings.failure_limit) == (None, 1)
    found = resolved({"failureLimit": 0, "failures": "2 of 5"}, args={"limit": "1"})
    assert (found.sliding.most, found.sliding.of) == (2, 5)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"failureLimit": 0, "failures": "6 of 5"}, "1 <= N <= M <= 100, such as 2 of 5, not 6 of 5"),
        ({"failureLimit": 0, "failures": "6 of 101"}, "1 <= N <= M <= 100"),
        ({"failures": "2 of 5"}, "two answers to one question"),
    ],
)
def test_failures_that_cannot_be_are_named(template: dict[str, Any], words: str) -> None:
    """With the field."""
    with pytest.raises(SpecError, match=re.escape(words)) as caught:
        resolved(template, args={"limit": "1"})
    assert caught.value.field == "spec.checks[1].failures"


def test_a_check_overrides_its_template() -> None:
    """What is set at the check wins, also where it is falsy."""
    found = resolved(
        args={"limit": "1"},
        name="p99",
        interval="1m",
        failureLimit=0,
        onError="Fail",
        dryRun=True,
        holdLimit="1h",
    )
    assert (found.name, str(found.settings.interval), found.settings.failure_limit) == ("p99", "1m", 0)
    assert (
        found.settings.on_error,
        found.settings.on_no_data,
        found.settings.dry_run,
        str(found.settings.hold_limit),
    ) == (
        OnUnknown.FAIL,
        OnUnknown.HOLD,
        True,
        "1h",
    )


WRONG: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("a required argument is missing", {}, {}, "spec.checks[1].args.limit", "the template needs this argument"),
    (
        "an argument that there is not",
        {},
        {"limit": "1", "colour": "red"},
        "spec.checks[1].args.colour",
        "takes no such argument; it takes: label, limit, quantile",
    ),
    ("an argument that is no number", {}, {"limit": "fast"}, "spec.checks[1].threshold.max", "argument limit"),
    (
        "an argument that is a template",
        {},
        {"limit": "{{ args.limit }}"},
        "spec.checks[1].threshold.max",
        "not another template",
    ),
    (
        "a limit of an undeclared argument",
        {"threshold": {"min": "{{ args.floor }}"}},
        {"limit": "1"},
        "spec.checks[1].threshold.min",
        "names an argument that the template does not declare; it declares: label, limit, quantile",
    ),
    (
        "a limit of an argument that nobody gave a value",
        {"threshold": {"min": "{{ args.label }}", "max": 1}},
        {"limit": "1"},
        "spec.checks[1].args.label",
        "threshold.min is {{ args.label }}, which has no value: the template declares it without a default; add",
    ),
    (
        "a template without arguments",
        {"args": [], "threshold": {"max": 1}},
        {"a": "b"},
        "spec.checks[1].args.a",
        "none",
    ),
]


@pytest.mark.parametrize(
    ("template", "args", "field", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_a_template_refuses(template: dict[str, Any], args: dict[str, str], field: str, message: str) -> None:
    """The error names the field and the argument."""
    with pytest.raises(SpecError) as caught:
        resolved(template, args=args)
    assert caught.value.field == field
    assert message in caught.value.message


def test_a_template_that_is_not_there() -> None:
    """Neither a query nor a template: said, not guessed."""
    with pytest.raises(SpecError, match="neither a query nor a template"):
        resolve(Check.model_validate({"template": {"name": "gone"}}), None, "spec.checks[0]")


def test_arguments_may_be_numbers() -> None:
    """In a Rollout and as defaults: they go into the query, and into the limit, as they were typed."""
    defaults = [{"name": "limit"}, {"name": "quantile", "default": 0.99}, {"name": "label", "default": 7}]
    found = resolved({"args": defaults}, args={"limit": 0.1})
    assert (found.judge.maximum, found.args) == (Fraction(1, 10), {"limit": "0.1", "quantile": "0.99", "label": "7"})


@pytest.mark.parametrize(
    ("judged", "limit"),
    [
        ({"threshold": {"max": 0.01}}, "<= 0.01"),
        ({"threshold": {"min": 0.1, "max": 0.3}}, "0.1 to 0.3"),
        ({"threshold": {"max": "1%"}}, "<= 0.01"),
        ({"threshold": {"min": 5}}, ">= 5"),
        ({"threshold": {"min": "0.9", "max": "1.1"}}, "0.9 to 1.1"),
        ({"condition": "value < 1.0"}, "value < 1.0"),
    ],
)
def test_limits_in_words(judged: dict[str, Any], limit: str) -> None:
    """What a value is held against, for the reader."""
    check = Check.model_validate({"name": "a", "prometheus": {"query": "q"}, **judged})
    assert resolve(check, None, "").limit == limit


# -- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ("", None),
        ("  \n", None),
        ("abort", Request("abort", raw="abort")),
        (" abort\n", Request("abort", raw=" abort\n")),
        ("nonsense", Request("nonsense", raw="nonsense")),
        ('{"verb":"pause","id":"7","by":"alice","reason":"lunch"}', Request("pause", "7", "alice", "lunch")),
        ('{"verb":"pause"}', Request("pause")),
        ('{"verb":"pause","id":null,"by":null,"reason":null}', Request("pause")),
        ("{not json", Request("(not JSON)")),
        ("{}", Request("")),
        ('{"verb":["abort"]}', Request("['abort']")),
    ],
)
def test_requests(raw: str | None, expected: Request | None) -> None:
    """A verb, or a JSON object; what makes no sense is a verb that there is not."""
    found = parse_request(raw)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.verb, found.id, found.by, found.reason) == (expected.verb, expected.id, expected.by, expected.reason)
    assert found.raw == raw
    assert (found.known is not None) == (found.verb in {verb.value for verb in Verb})


@given(st.one_of(st.text(), st.sampled_from(('{"a":' * 50_000, '{"verb":"\\ud800"}', "\ud800", "{" + "9" * 9999))))
def test_reading_a_request_never_raises(raw: str) -> None:
    """Anybody may annotate a Rollout with anything; what comes of it fits into a status."""
    found = parse_request(raw)
    if found is not None:
        assert len(found.verb) <= 64
        json.dumps(found.dump()).encode()
        found.verb.encode()


def test_a_request_is_written_as_it_is_read() -> None:
    """The stamp that gives a plain verb its id."""
    request = Request("abort", "id-1", "alice", "it's late")
    found = parse_request(request.dump())
    assert found is not None
    assert (found.verb, found.id, found.by, found.reason) == ("abort", "id-1", "alice", "it's late")
    request = Request("promote-full", "id-1", run=7, ignore_unknown=True)
    assert parse_request(request.dump()) == replace(request, raw=request.dump())


@pytest.mark.parametrize("run", ["7", 0, -1, True, 1.5, 10**400, None, []])
def test_a_request_that_names_no_run_is_about_whichever_there_is(run: Any) -> None:
    found = parse_request(json.dumps({"verb": "promote", "run": run}))
    assert found is not None
    assert (found.run, found.known) == (0, Verb.PROMOTE)


# -- status -------------------------------------------------------------------------------------------------------


def test_a_status_of_a_later_version_is_read() -> None:
    """Fields that we do not know are dropped, at every level."""
    found = RolloutStatus.load({"phase": "Idle", "colour": "red", "split": {"desired": 0, "hue": 1}})
    assert found.phase == "Idle"


@pytest.mark.parametrize("document", [None, "x", [], 7])
def test_no_status_is_an_empty_one(document: Any) -> None:
    """Before the first decision there is none."""
    assert RolloutStatus.load(document) == RolloutStatus()


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(4999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_survive(moment: Any) -> None:
    """RFC 3339 with milliseconds and a Z."""
    text = format_time(moment)
    assert text.endswith("Z")
    assert abs((parse_time(text) - moment).total_seconds()) < 0.001
    assert format_time(parse_time(text)) == text


def test_an_upgrade_starts_no_run_that_mirrors_again() -> None:
    """A mirror without a comparer has the hash that it had before there were comparers."""
    assert spec(steps=[{"mirror": {"percent": 20}, "hold": "10s"}]).plan_hash() == "a553145d14"
    compared = {"percent": 20, "comparer": {"service": "x", "port": 80}}
    assert spec(steps=[{"mirror": compared, "hold": "10s"}]).plan_hash() != "a553145d14"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "steps": [
                    {"mirror": {"percent": 1}},
                    {"mirror": {"percent": 1, "comparer": {"service": "x", "port": 80}}},
                ]
            },
            "same comparer",
        ),
        (
            {"promotion": "Swap", "steps": [{"mirror": {"percent": 1, "comparer": {"service": "x", "port": 80}}}]},
            "Swap",
        ),
        (
            {
                "routes": [{"kind": "GRPCRoute", "name": "calls"}],
                "steps": [{"mirror": {"percent": 1, "comparer": {"service": "x", "port": 80}}}],
            },
            "arrive as HTTP/2",
        ),
    ],
)
def test_a_controller_whose_definitions_are_older_refuses_what_no_run_could_take_back(
    changes: dict[str, Any], words: str
) -> None:
    """The rules of the definitions are the models' too, where a route's filters hang on them."""
    with pytest.raises(ValidationError, match=words):
        spec(**changes)
