"""From documents to facts: what a decision sees, and every problem with its field."""

from __future__ import annotations

import json
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from observe_kit import NOW, TEAM, deployment, facts_of, furnished, meta, ref, rollout, route, template

from canary.checks.queries import check_query
from canary.checks.traffic import traffic_queries
from canary.decide.facts import Facts, Problem
from canary.model.measurement import Counts, Sample
from canary.model.rollout import RolloutSpec
from canary.model.run_status import Outcome
from canary.model.status import RolloutStatus
from canary.observe.checks import Resolver, resolve_checks
from canary.observe.facts import Received
from canary.observe.rollout import Rollout
from canary.preflight.offers import Platform
from canary.routes.intent import Intent, Mode, run_annotation
from canary.routes.pair import Pair, Weights

Json = dict[str, Any]
RUN_ANNOTATION = run_annotation("shop")

RUNNING = {
    "phase": "Progressing",
    "run": {"number": 4, "startedAt": "2026-01-01T11:00:00Z"},
    "step": {"index": 1, "total": 1, "startedAt": "2026-01-01T11:00:00Z"},
}
INTENT = {"rollout": "shop", "uid": "uid-shop", "run": 4, "mode": "step", "step": 1, "weights": {}, "baseline": {}}


def test_an_ordinary_rollout() -> None:
    """Routes with their shares and acceptance, workloads with their revisions, no problem."""
    facts = facts_of(furnished(), rollout())
    assert facts.problems == ()
    (view,) = facts.routes
    assert (view.exists, view.share, view.acceptance.accepted, view.intent) == (True, Fraction(10), True, None)
    assert facts.stable is not None
    assert facts.canary is not None
    assert facts.stable.revision != facts.canary.revision
    assert (facts.now, facts.name, facts.uid, facts.deleting, facts.finalizer) == (
        NOW,
        "shop",
        "uid-shop",
        False,
        False,
    )


def test_without_workloads() -> None:
    """No workloads declared is None, not a workload that is missing."""
    facts = facts_of(furnished(), rollout(workloads=None))
    assert (facts.stable, facts.canary) == (None, None)


def test_a_workload_that_is_missing() -> None:
    """A declared workload that is not there is seen as such, under its name."""
    facts = facts_of(furnished(), rollout(workloads={"stable": {"name": "stable"}, "canary": {"name": "gone"}}))
    assert facts.canary is not None
    assert (facts.canary.name, facts.canary.exists, facts.canary.ready) == ("gone", False, 0)


def test_swapped_roles() -> None:
    """After an odd number of swaps, stable and canary are the other way round, on routes and workloads."""
    facts = facts_of(furnished(), rollout(status={"swapped": True}))
    assert facts.stable is not None
    assert facts.stable.name == "canary"
    assert facts.routes[0].share == 90


@pytest.mark.parametrize(
    ("annotation", "seen"),
    [
        (None, False),
        (json.dumps(INTENT), True),
        (json.dumps({**INTENT, "rollout": "other"}), False),
        ("not json", False),
        (json.dumps({**INTENT, "mode": "dance"}), False),
    ],
)
def test_the_annotation_of_a_route(annotation: str | None, seen: bool) -> None:
    """Only an annotation that we understand and that names this Rollout is an intent."""
    annotations = {} if annotation is None else {RUN_ANNOTATION: annotation}
    facts = facts_of(furnished(route(annotations=annotations)), rollout())
    assert (facts.routes[0].intent is not None) is seen


def test_routes_that_a_run_has_written_and_the_spec_names_no_more() -> None:
    """They are part of the facts, marked as not declared, as long as the run is active and they say themselves that it was there."""
    status = {**RUNNING, "routes": [{"kind": "HTTPRoute", "name": "old", "owned": True}]}
    old = route("old", managedFields=WRITTEN)
    facts = facts_of(furnished(route(), old), rollout(status=status))
    assert [(view.name, view.declared) for view in facts.routes] == [("shop", True), ("old", False)]
    facts = facts_of(furnished(route(), old), rollout(status={**status, "phase": "Idle"}))
    assert [view.name for view in facts.routes] == ["shop"]


def intent_of(uid: str) -> Json:
    said = Intent("shop", uid, 4, Mode.STEP, 1, {"#0": Weights(90, 10)}, {"#0": Weights(1, 0)}, OURS).dump()
    return {"annotations": {RUN_ANNOTATION: said}}


OURS = Pair.parse("team/stable:80 team/canary:80")
WRITTEN: list[Json] = [{"manager": "canary", "time": "2026-01-01T11:30:00Z", "fieldsV1": {"f:spec": {"f:rules": {}}}}]
OTHERS: list[Json] = [{**WRITTEN[0], "manager": "argocd"}, {**WRITTEN[0], "fieldsV1": {"f:metadata": {}}}]


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ({}, False),
        (intent_of("somebody"), False),
        ({"managedFields": OTHERS}, False),
        ({"managedFields": [{**WRITTEN[0], "subresource": "status"}]}, False),
        (intent_of("uid-shop"), True),
        ({"managedFields": [*OTHERS, *WRITTEN]}, True),
    ],
    ids=["nothing", "another uid", "others", "a subresource", "its annotation", "its managedFields"],
)
def test_a_route_is_not_the_runs_because_a_status_says_so(metadata: Json, known: bool) -> None:
    """Whoever may write a status names any route of the namespace, with any pair: it is left alone, and the record counts as absent."""
    entry = {"kind": "HTTPRoute", "name": "pay", "owned": True, "pair": "team/new:80 team/old:80"}
    status = {**RUNNING, "routes": [{**entry, "baseline": {"#0": "100/0"}}]}
    pay = route("pay", {"backendRefs": [ref("old", 100), ref("new", 0)]}, **metadata)
    facts = facts_of(furnished(route(), pay), rollout(status=status))
    assert [view.name for view in facts.routes] == (["shop", "pay"] if known else ["shop"])
    assert facts.senseless == (() if known else ("routes[pay]",))


def test_a_route_that_cannot_be_seen_stays_on_record() -> None:
    """Nothing can be done to it, and it may come into sight again."""
    status = {**RUNNING, "routes": [{"kind": "HTTPRoute", "name": "pay", "owned": True}]}
    facts = facts_of(furnished(route()), rollout(status=status))
    assert [(view.name, view.exists) for view in facts.routes] == [("shop", True), ("pay", False)]


def test_a_run_settles_as_slowly_as_the_slowest_gateway_of_its_routes() -> None:
    """Those that it has written and that the spec names no more are among them; at rest nothing settles."""
    store = furnished(route(), route("old", ref("stable", 50), ref("canary", 50)))
    store.around.platform = Platform(class_settle={"edge": timedelta(seconds=1), "slow": timedelta(seconds=30)})
    for name, of in (("gw", "edge"), ("far", "slow")):
        store.put_around("Gateway", {"metadata": meta(name), "spec": {"gatewayClassName": of}})
    assert facts_of(store, rollout()).settle == timedelta(0)
    assert facts_of(store, rollout(status=RUNNING)).settle == timedelta(seconds=2), "nobody has read the Gateways"
    store.around.know("Gateway", None, known=True)
    assert facts_of(store, rollout(status=RUNNING)).settle == timedelta(seconds=1)
    moved = route("old", ref("stable", 50), ref("canary", 50), version=2)
    moved["spec"]["parentRefs"] = [{"name": "gw"}, {"name": "far"}]
    moved["metadata"]["managedFields"] = WRITTEN
    store.put_route(moved)
    assert facts_of(store, rollout(status=RUNNING)).settle == timedelta(seconds=1)
    left = {**RUNNING, "routes": [{"kind": "HTTPRoute", "name": "old", "owned": True}]}
    assert facts_of(store, rollout(status=left)).settle == timedelta(seconds=30)
    store.around.complete = False
    assert facts_of(store, rollout(status=RUNNING)).settle == timedelta(seconds=30), "Gateways are being listed yet"


def test_what_is_on_record() -> None:
    """The run counts as recorded only while it is active in what the API server has."""
    last = {"id": "r1", "verb": "pause", "at": "2026-01-01T11:00:00Z", "outcome": "done"}
    facts = facts_of(furnished(), rollout(status={**RUNNING, "lastRequest": last}))
    assert (facts.recorded.run, facts.recorded.outcome, facts.recorded.request) == (4, None, "r1")
    ended = {**RUNNING, "phase": "RolledBack", "run": {**RUNNING["run"], "outcome": "RolledBack"}}  # type: ignore[dict-item]
    facts = facts_of(furnished(), rollout(status=ended))
    assert (facts.recorded.run, facts.recorded.outcome) == (0, Outcome.ROLLED_BACK)


def test_news_is_passed_on() -> None:
    """Measurements and refusals come through as they are."""
    sample = ("errors", Sample(0.1, NOW))
    refusal = Problem("spec.checks[0].prometheus.query", "Prometheus refuses the query")
    facts = facts_of(furnished(), rollout(), Received((sample,), Counts(1, 2, NOW), (refusal,)))
    assert facts.measurements == (sample,)
    assert facts.traffic == Counts(1, 2, NOW)
    assert refusal in facts.problems


NAMED = {"name": "checkout", "backendRefs": [ref("stable", 1), ref("canary", 0)]}

PROBLEMS: list[tuple[str, dict[str, Any], list[dict[str, Any]], str, str]] = [
    ("no such route", {"routes": [{"name": "gone"}]}, [route()], "spec.routes[0]", "there is no HTTPRoute gone"),
    (
        "the second one is missing",
        {"routes": [{"name": "shop"}, {"name": "b"}]},
        [route()],
        "spec.routes[1]",
        "HTTPRoute b",
    ),
    ("no pair", {}, [route("shop", {"backendRefs": [ref("stable", 1)]})], "spec.routes[0]", "weight 0"),
    (
        "other port",
        {"canary": {"service": "canary", "port": 81}},
        [route()],
        "spec.routes[0]",
        "lists canary:80, not :81",
    ),
    (
        "other namespace",
        {"canary": {"service": "canary", "port": 80, "namespace": "other"}},
        [route()],
        "spec.routes[0]",
        "other/canary:80",
    ),
    (
        "no such rule",
        {"routes": [{"name": "shop", "rules": ["pay"]}]},
        [route("shop", NAMED)],
        "spec.routes[0]",
        "'pay'",
    ),
    (
        "twice in one rule",
        {},
        [route("shop", {"backendRefs": [ref("stable", 1), ref("canary", 1), ref("canary", 2)]})],
        "spec.routes[0]",
        "2 times",
    ),
    (
        "a share that third backends forbid",
        {"steps": [{"weight": "0.5%"}]},
        [route("shop", {"backendRefs": [ref("third", 1), ref("stable", 100), ref("canary", 0)]})],
        "spec.routes[0]",
        "rule #0 of HTTPRoute shop",
    ),
    (
        "no such template",
        {"checks": [{"template": {"name": "latency"}}]},
        [route()],
        "spec.checks[0].template",
        "there is no CheckTemplate latency in namespace team",
    ),
    (
        "unknown variable of traffic",
        {"traffic": {"prometheus": {"query": "{{ nope }}"}}},
        [route()],
        "spec.traffic.prometheus.query",
        "nope",
    ),
    (
        "counters that are the same for both backends",
        {"traffic": {"prometheus": {"query": "requests_total"}}},
        [route()],
        "spec.traffic.prometheus.query",
        "select by {{ backend.service }}",
    ),
]


@pytest.mark.parametrize(("name", "spec", "routes", "field", "words"), PROBLEMS, ids=[case[0] for case in PROBLEMS])
def test_problems(name: str, spec: dict[str, Any], routes: list[dict[str, Any]], field: str, words: str) -> None:
    """Each thing that cannot work is named by its field, with words that help."""
    problems = facts_of(furnished(*routes), rollout(**spec)).problems
    assert [problem.field for problem in problems] == [field]
    assert words in problems[0].message


def test_rules_by_name_only() -> None:
    """With named rules only those are ours, whatever else lists the pair."""
    other = {"backendRefs": [ref("stable", 3), ref("canary", 3)]}
    facts = facts_of(furnished(route("shop", other, NAMED)), rollout(routes=[{"name": "shop", "rules": ["checkout"]}]))
    assert [rule.key for rule in facts.routes[0].rules] == ["checkout"]
    assert facts.routes[0].share == 0


RIVALS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("older", {"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}}, {}, True),
    ("younger", {"metadata": {"creationTimestamp": "2026-01-01T11:30:00Z"}}, {}, False),
    ("younger, and it runs", {"metadata": {"creationTimestamp": "2026-01-01T11:30:00Z"}, "status": RUNNING}, {}, True),
    ("of the same second, first by name", {"metadata": {"uid": "zz"}}, {}, True),
    (
        "older, but we run",
        {"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}},
        {"status": RUNNING},
        False,
    ),
    (
        "older, about another pair",
        {"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}, "canary": {"service": "x", "port": 80}},
        {},
        False,
    ),
]


@pytest.mark.parametrize(("name", "theirs", "ours", "objects"), RIVALS, ids=[case[0] for case in RIVALS])
def test_rivals(name: str, theirs: dict[str, Any], ours: dict[str, Any], objects: bool) -> None:
    """Of two Rollouts on one rule the one that runs has it, else the older one; the other says so."""
    store = furnished()
    store.put_rollout(rollout("rival", **theirs))
    problems = facts_of(store, rollout(**ours)).problems
    assert bool(problems) is objects
    if objects:
        assert "Rollout rival drives rule #0 of HTTPRoute shop already" in problems[0].message


def test_queries_are_rendered_by_role() -> None:
    """The canary of a query is the canary of the moment, also after a swap."""
    document = rollout(
        checks=[
            {
                "name": "e",
                "prometheus": {"query": "{{ canary.service }} {{ weight }} {{ route }}"},
                "threshold": {"max": 1},
            }
        ],
        traffic={"prometheus": {"query": "{{ backend.service }} {{ stable.service }}"}},
    )
    spec = Rollout.of(document).spec
    assert spec is not None
    checks = resolve_checks(furnished(), TEAM, "shop", spec)
    (found,) = checks.resolved
    assert checks.traffic is not None
    assert check_query(found, spec, TEAM, "shop", weight=50).text == "canary 50 shop"
    assert check_query(found, spec, TEAM, "shop", weight=0.5, swapped=True).text == "stable 0.5 shop"
    asked = traffic_queries(checks.traffic, spec, TEAM, "shop", weight=1)
    assert [source.text for source in asked] == ["canary stable", "stable stable"]


def test_templates_are_merged() -> None:
    """A template gives the query and the limit, the Rollout its arguments and what it overrides."""
    store = furnished()
    store.put_template("CheckTemplate", template(interval="7s"))
    document = rollout(checks=[{"template": {"name": "latency"}, "args": {"limit": "300ms"}, "failureLimit": 2}])
    facts = facts_of(store, document)
    assert facts.problems == ()
    (found,) = facts.checks
    assert (found.name, found.settings.interval.seconds, found.settings.failure_limit) == ("latency", 7, 2)
    assert found.judge.maximum == Fraction(3, 10)


COUNTS: dict[str, Any] = {
    "args": [{"name": "route", "required": True}],
    "traffic": {
        "prometheus": {"query": "n{r='{{ args.route }}',s='{{ backend.service }}'}"},
        "interval": "7s",
        "lag": "9s",
    },
}
"""The spec of a template of traffic."""


def counting(traffic: dict[str, Any], /, **changes: Any) -> Facts:
    """The facts of a Rollout with this traffic, in a cluster with a template of traffic and one of a check."""
    store = furnished()
    store.put_template("CheckTemplate", template())
    store.put_template("CheckTemplate", {**template("traffic"), "spec": {**COUNTS, **changes}})
    return facts_of(store, rollout(traffic=traffic))


def test_counters_come_from_a_template_too() -> None:
    """The template gives query, interval and lag, the Rollout arguments and what it overrides."""
    named = {"template": {"name": "traffic"}, "args": {"route": "shop"}}
    facts = counting(named)
    assert (facts.problems, facts.counters is None) == ((), False)
    for traffic, lag in ((named, 9), ({**named, "lag": "3s"}, 3)):
        found = counting(traffic).counters
        assert found is not None
        assert (found.check.settings.interval.seconds, found.lag.seconds) == (7, lag)
        spec = Rollout.of(rollout(traffic=traffic)).spec
        assert spec is not None
        asked = traffic_queries(found, spec, TEAM, "shop", weight=1)
        assert [source.text for source in asked] == ["n{r='shop',s='canary'}", "n{r='shop',s='stable'}"]


def test_what_is_not_said_of_counters_means_the_same_everywhere() -> None:
    """A Rollout without interval and lag counts like a template without them."""
    query = {"prometheus": {"query": "{{ backend.service }}"}}
    inline = counting(query).counters
    named = counting({"template": {"name": "traffic"}}, args=[], traffic=query).counters
    assert inline is not None
    assert inline == named
    assert (inline.check.settings.interval.seconds, inline.lag.seconds) == (15, 30)


@pytest.mark.parametrize(
    ("traffic", "changes", "field", "words"),
    [
        ({"template": {"name": "gone"}}, {}, "spec.traffic.template", "there is no CheckTemplate gone in namespace"),
        (
            {"template": {"name": "gone", "kind": "ClusterCheckTemplate"}},
            {},
            "spec.traffic.template",
            "there is no ClusterCheckTemplate gone;",
        ),
        (
            {"template": {"name": "latency"}, "args": {"limit": "1"}},
            {},
            "spec.traffic.template",
            "CheckTemplate latency holds a check, and counts no traffic; name it in spec.checks",
        ),
        ({"template": {"name": "traffic"}}, {}, "spec.traffic.args.route", "needs this argument"),
        (
            {"template": {"name": "traffic"}, "args": {"route": "a", "rout": "a"}},
            {},
            "spec.traffic.args.rout",
            "it takes: route",
        ),
        (
            {"template": {"name": "traffic"}, "args": {"route": "a"}},
            {"traffic": {"prometheus": {"query": "{{ backend.servise }}"}}},
            "spec.traffic.prometheus.query",
            "unknown variable 'backend.servise' (did you mean 'backend.service'?)",
        ),
        (
            {"template": {"name": "traffic"}, "args": {"route": "a"}},
            {"traffic": {"prometheus": {"query": "{{ canary.service }}"}}},
            "spec.traffic.prometheus.query",
            "counts the same for both backends",
        ),
        (
            {"template": {"name": "traffic"}, "args": {"route": "a"}},
            {"traffic": {"prometheus": {"query": "{{ backend.service }}"}, "lag": "long"}},
            "spec.traffic.template",
            "CheckTemplate traffic is invalid at spec.traffic.lag",
        ),
    ],
)
def test_counters_that_cannot_be_read(traffic: dict[str, Any], changes: dict[str, Any], field: str, words: str) -> None:
    """One problem, which says what is missing and where."""
    (problem,) = counting(traffic, **changes).problems
    assert problem.field == field
    assert words in problem.message


def test_counters_are_no_check() -> None:
    """A template of traffic in spec.checks is told where it belongs."""
    store = furnished()
    store.put_template("CheckTemplate", {**template("traffic"), "spec": COUNTS})
    (problem,) = facts_of(store, rollout(checks=[{"template": {"name": "traffic"}, "args": {"route": "a"}}])).problems
    assert problem.field == "spec.checks[0].template"
    assert problem.message == "CheckTemplate traffic holds traffic, and no check; name it in spec.traffic"


def test_a_check_whose_template_is_gone_is_not_absent() -> None:
    """It is lost, for a reason; who has seen its template remembers what that said, who has not goes by what the check says."""
    store = furnished()
    declared = {"template": {"name": "latency"}, "args": {"limit": "1"}, "holdLimit": "3m"}
    spec = Rollout.of(rollout(checks=[declared])).spec
    other = Rollout.of(rollout(checks=[declared | {"holdLimit": "4m"}])).spec
    assert spec is not None
    assert other is not None
    store.put_template("CheckTemplate", template(interval="7s"))
    knows, knows_not = Resolver(), Resolver()

    def seen(resolver: Resolver, by: RolloutSpec = spec) -> tuple[str, str, float, float]:
        (found,) = resolver(store, TEAM, "shop", by).resolved
        settings = found.settings
        return (
            found.name,
            found.lost.reason if found.lost else "",
            settings.interval.seconds,
            settings.hold_limit.seconds,
        )

    assert seen(knows) == ("latency", "", 7, 180)
    for version, reason in ((2, "TemplateUnreadable"), (3, "TemplateNotFound")):
        if version == 2:
            store.put_template("CheckTemplate", template(interval="often", version=2))
        else:
            store.drop_template("CheckTemplate", (TEAM, "latency"))
        assert seen(knows) == ("latency", reason, 7, 180)
        assert seen(knows_not) == ("latency", reason, 30, 180)
    assert seen(knows, other) == ("latency", "TemplateNotFound", 30, 240), "another check by that name"
    store.put_template("CheckTemplate", template(interval="9s", version=4))
    assert seen(knows) == seen(knows_not) == ("latency", "", 9, 180)


def test_a_template_that_is_nonsense() -> None:
    """A template that cannot be read is a problem of the check that names it, with the place in the template."""
    store = furnished()
    store.put_template("CheckTemplate", template(interval="often"))
    document = rollout(checks=[{"template": {"name": "latency"}, "args": {"limit": "1"}}])
    (problem,) = facts_of(store, document).problems
    assert problem.field == "spec.checks[0].template"
    assert "CheckTemplate latency is invalid at spec.interval" in problem.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": []}, "spec.steps"),
        ({"steps": [{"weight": 101}]}, "spec.steps[0].weight"),
        ({"surprise": 1}, "spec.surprise"),
        ({"stable": {"service": "s"}}, "spec.stable.port"),
    ],
)
def test_a_spec_that_cannot_be_read(change: dict[str, Any], field: str) -> None:
    """What the models refuse is a problem with a path, never an exception."""
    seen = Rollout.of(rollout(**change))
    assert seen.spec is None
    assert seen.problem is not None
    assert seen.problem.field == field


@pytest.mark.parametrize("status", [None, {}, {"phase": "Dancing"}, {"run": 3}, {"futureField": 1}, "x"])
def test_a_status_that_cannot_be_read(status: Any) -> None:
    """A status that is nonsense is no status; one of a later version is read as far as we know it."""
    assert Rollout.of(rollout(status=status)).status == RolloutStatus()


def test_deletion_and_finalizer() -> None:
    """Both are read from the metadata."""
    metadata = {"deletionTimestamp": "2026-01-01T12:00:00Z", "finalizers": ["x", "canary.dev/restore-routes"]}
    facts = facts_of(furnished(), rollout(metadata=metadata))
    assert (facts.deleting, facts.finalizer) == (True, True)


def test_a_copy_under_way() -> None:
    """The kept pod spec on the stable workload is seen."""
    store = furnished()
    document = deployment("stable", version=2)
    document["metadata"]["annotations"] = {"canary.dev/replaced-pod-spec": "{}"}
    store.put_workload(document)
    facts = facts_of(store, rollout())
    assert facts.stable is not None
    assert facts.stable.copied
