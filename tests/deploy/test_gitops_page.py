"""docs/gitops.md: each snippet is parsed and run: expressions by jq, health and actions by Lua, Flux's health by CEL."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import cel
import jq
import jsonpatch
import pytest
import yaml
from deploy_kit import kustomized, overlay_with
from lupa.lua51 import LuaRuntime

import canary_sandbox
from canary.decide import reasons
from canary.decide.facts import Facts, Problem, RouteView, RuleView
from canary.decide.pausing import BY_HAND, BY_POLICY
from canary.decide.requests import serve
from canary.decide.scope import Decision, Scope
from canary.model.requests import REQUEST_ANNOTATION, parse_request
from canary.model.rollout import RolloutSpec, RouteKind, RouteRef
from canary.model.run_status import Outcome, PauseStatus, RunStatus, StepStatus
from canary.model.status import Phase, RequestOutcome, RolloutStatus
from canary.model.steps import Step
from canary.preflight.findings import Finding, Reason, Who
from canary.routes.acceptance import Acceptance
from canary.routes.added_refusals import Refused
from canary.routes.filters import Copied
from canary.routes.key import RouteKey
from canary.routes.opt_in import additions
from canary.routes.pair import Backend, Pair, Weights
from canary.routes.plan import RoutePlan
from canary.routes.reading import RouteReading
from canary.status.conditions import conditions
from canary.view.goal import Goal, Missed, Reached, Waiting, judge
from canary.view.rollout import view
from canary_sandbox.apiserver.schema import Schema

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gitops.md").read_text()
SNIPPETS: list[Json] = [
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]
ROUTE, APPLICATION, ARGO, FLUX, FLUX_HEALTH, KEPT = SNIPPETS
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAIR = Pair(Backend("pay-stable", "team-pay", 8080), Backend("pay-canary", "team-pay", 8080))


def stored(document: Json) -> Json:
    """A route as the API server keeps it: defaults filled in."""
    text = (Path(canary_sandbox.__file__).parent / "gatewayapi" / "httproutes.yaml").read_text()
    versions = {version["name"]: version for version in yaml.safe_load(text)["spec"]["versions"]}
    document = copy.deepcopy(document)
    Schema(versions["v1"]["schema"]["openAPIV3Schema"]).default(document)
    return document


def during(git: Json, weights: Weights, copies: int = 0) -> Json:
    """The route in the middle of a step, by the patches that a run sends."""
    mirrors = {"#0": Copied(Fraction(copies), bare="filters" not in git["spec"]["rules"][0])} if copies else {}
    edit = RoutePlan.dividing(PAIR, {"#0": weights}, mirrors).patch(git)
    live: Json = jsonpatch.apply_patch(git, list(edit.changes))
    return live


# -- Argo CD ----------------------------------------------------------------------------------------------------------


def compared(document: Json, expressions: list[str]) -> Json:
    """What Argo CD compares: each expression deleted, one after the other."""
    for expression in expressions:
        document = jq.compile(f"del({expression})").input_value(document).first()
    return document


HEADER = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-team", "value": "pay"}]}}
STEPS = [(Weights(1, 0), 20), (Weights(95, 5), 0), (Weights(50, 50), 20), (Weights(0, 100), 0)]


@pytest.mark.parametrize("filters", [None, [HEADER]], ids=["no filters", "a filter of the team"])
@pytest.mark.parametrize(("weights", "copies"), STEPS)
def test_a_run_is_no_difference_to_argo_cd(weights: Weights, copies: int, filters: list[Json] | None) -> None:
    """At no step, mirrored or not, is the Application OutOfSync; and it is as soon as anything else differs."""
    (ignored,) = APPLICATION["spec"]["ignoreDifferences"]
    expressions = ignored["jqPathExpressions"]
    git = copy.deepcopy(ROUTE)
    git["spec"]["rules"][0]["backendRefs"].append(
        {"group": "", "kind": "Service", "name": "old", "port": 80, "weight": 3}
    )
    if filters:
        git["spec"]["rules"][0]["filters"] = filters
    live = during(git, weights, copies)
    assert live != git
    assert compared(live, expressions) == compared(git, expressions)
    for change in ({"name": "other"}, {"weight": 4}):
        other = copy.deepcopy(live)
        other["spec"]["rules"][0]["backendRefs"][2].update(change)
        assert compared(other, expressions) != compared(git, expressions)
    other = copy.deepcopy(live)
    other["spec"]["rules"][0].setdefault("filters", []).append(HEADER)
    assert compared(other, expressions) != compared(git, expressions)


@pytest.mark.parametrize("filters", [None, [HEADER]], ids=["no filters", "a filter of the team"])
def test_a_rule_that_is_added_is_no_difference_to_argo_cd(filters: list[Json] | None) -> None:
    """Nor is it while a weight is given beside it; a rule of the team's own that differs still is one."""
    (ignored,) = APPLICATION["spec"]["ignoreDifferences"]
    expressions = ignored["jqPathExpressions"]
    git = copy.deepcopy(ROUTE)
    if filters:
        git["spec"]["rules"][0]["filters"] = filters
    step = Step.model_validate({"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}]})
    added = additions(step, RouteRef(name="pay"), RouteReading(git), PAIR, {})
    assert not isinstance(added, Refused)
    edit = RoutePlan.dividing(PAIR, {"#0": Weights(90, 10)}, rules=added).patch(git)
    live: Json = jsonpatch.apply_patch(git, list(edit.changes))
    assert len(live["spec"]["rules"]) == 2
    assert compared(live, expressions) == compared(git, expressions)
    live["spec"]["rules"].append({"backendRefs": [{"group": "", "kind": "Service", "name": "old", "port": 80}]})
    assert compared(live, expressions) != compared(git, expressions)


def test_a_selection_by_our_annotation_is_out_of_sync() -> None:
    """What the page warns of: it takes the weight from the live route only."""
    git = copy.deepcopy(ROUTE)
    live = during(git, Weights(90, 10))
    live["metadata"]["annotations"] = {"run.canary.dev/pay": "{}"}
    trap = 'select(.metadata.annotations["run.canary.dev/pay"]) | .spec.rules[].backendRefs[].weight'
    assert compared(live, [trap])["spec"] != compared(git, [trap])["spec"]


def test_the_route_of_the_page_has_its_defaults_written_out() -> None:
    """In the list of backends, where Argo CD would compare them."""
    defaulted = stored(ROUTE)["spec"]
    assert defaulted["rules"][0]["backendRefs"] == ROUTE["spec"]["rules"][0]["backendRefs"]
    assert defaulted["rules"][0]["matches"] == ROUTE["spec"]["rules"][0]["matches"]
    assert defaulted["parentRefs"] == ROUTE["spec"]["parentRefs"]


def test_the_application_of_the_page_is_the_examples() -> None:
    """One set-up, in two places."""
    example = yaml.safe_load((ROOT / "examples" / "gitops" / "argocd-application.yaml").read_text())
    assert example == APPLICATION


# -- health -----------------------------------------------------------------------------------------------------------

FACTS = Facts(
    now=NOW,
    name="pay",
    uid="u",
    generation=4,
    routes=(
        RouteView(key=RouteKey(RouteKind.HTTP, "team-pay", "pay"), pair=PAIR, acceptance=Acceptance(accepted=True)),
    ),
)


def rollout(phase: Phase, *, reason: str = "", pause: str = "", facts: Facts = FACTS) -> Json:
    """A Rollout with the status that the controller writes."""
    active = phase in {Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING, Phase.ROLLING_BACK}
    outcome = {Phase.ROLLED_BACK: Outcome.ROLLED_BACK, Phase.SUCCEEDED: Outcome.SUCCEEDED}.get(phase)
    status = RolloutStatus(
        phase=phase,
        observed_generation=4,
        message="where it stands",
        run=RunStatus(number=1, started_at=NOW, reason=reason, outcome=outcome),
        step=StepStatus(index=1, total=2, started_at=NOW) if active else None,
        paused=PauseStatus(reason=pause, message="why", since=NOW) if pause else None,
    )
    said = conditions(status, Decision(status, reason or "Because", ""), facts)
    document: Json = status.model_copy(update={"conditions": said}).dump()
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "pay", "generation": 4},
        "status": document,
    }


WRONG = Facts(now=NOW, name="pay", uid="u", generation=4, problems=(Problem(reasons.INVALID, "spec", "wrong"),))
HALF = RouteView(key=FACTS.routes[0].key, pair=PAIR, rules=(RuleView("#0", Weights(1, 1)),))
NO_WEIGHTS_IN_GIT = Facts(now=NOW, name="pay", uid="u", generation=4, routes=(HALF,))

HEALTH = [
    ("nothing to do", rollout(Phase.IDLE), "Healthy", "current"),
    ("released", rollout(Phase.SUCCEEDED), "Healthy", "current"),
    ("at a step", rollout(Phase.PROGRESSING), "Progressing", "inProgress"),
    ("promoting", rollout(Phase.PROMOTING), "Progressing", "inProgress"),
    ("rolling back", rollout(Phase.ROLLING_BACK), "Progressing", "inProgress"),
    ("for an approval", rollout(Phase.PAUSED, pause=reasons.AWAITING_APPROVAL), "Suspended", "inProgress"),
    ("paused by somebody", rollout(Phase.PAUSED, pause=reasons.PAUSED_BY_REQUEST), "Suspended", "inProgress"),
    ("lowered by hand", rollout(Phase.PAUSED, pause=reasons.LOWERED_BY_HAND), "Degraded", "failed"),
    ("contested", rollout(Phase.PAUSED, pause=reasons.CONTESTED), "Degraded", "failed"),
    ("failed", rollout(Phase.ROLLED_BACK, reason=reasons.CHECK_FAILED), "Degraded", "failed"),
    ("aborted", rollout(Phase.ROLLED_BACK, reason=reasons.ABORTED), "Suspended", "failed"),
    ("put back to what stable runs", rollout(Phase.ROLLED_BACK, reason=reasons.SUPERSEDED), "Healthy", "current"),
    ("a wrong spec", rollout(Phase.INVALID, facts=WRONG), "Degraded", "failed"),
    ("no run could begin", rollout(Phase.IDLE, facts=NO_WEIGHTS_IN_GIT), "Degraded", ""),
]
BY_NAME = pytest.mark.parametrize(
    ("document", "argo", "flux"), [row[1:] for row in HEALTH], ids=[row[0] for row in HEALTH]
)


def lua(script: str, document: Json) -> Any:
    """Run a script as Argo CD does: Lua 5.1, the object as `obj`, no libraries to speak of."""
    runtime = LuaRuntime()
    for library in ("string", "math", "io", "os", "debug", "python"):
        runtime.globals()[library] = None
    runtime.globals().obj = runtime.table_from(document, recursive=True)
    return runtime.execute(script)


def in_argo(document: Json) -> str:
    return str(lua(ARGO["data"]["resource.customizations.health.canary.dev_Rollout"], document).status)


def in_flux(document: Json) -> str:
    """The first of its expressions that is true, in the order in which it asks; empty: it goes on waiting."""
    (health,) = FLUX_HEALTH["spec"]["healthCheckExprs"]
    asked = ("inProgress", "failed", "current")
    return next((word for word in asked if cel.evaluate(health[word], {"status": document["status"]})), "")


@BY_NAME
def test_health_in_argo_cd(document: Json, argo: str, flux: str) -> None:
    """By the conditions, with our sentence."""
    del flux
    assert in_argo(document) == argo
    found = lua(ARGO["data"]["resource.customizations.health.canary.dev_Rollout"], document)
    assert (found.status, found.message) == (argo, "where it stands")
    assert f" {argo} |" in PAGE


@pytest.mark.parametrize("missing", ["status", "conditions", "generation"])
def test_health_before_the_controller_has_looked(missing: str) -> None:
    """A status that is not there, empty, or of another generation says nothing yet."""
    document = rollout(Phase.SUCCEEDED)
    if missing == "status":
        del document["status"]
    elif missing == "conditions":
        del document["status"]["conditions"]
    else:
        document["metadata"]["generation"] = 5
    found = lua(ARGO["data"]["resource.customizations.health.canary.dev_Rollout"], document)
    assert found.status == "Progressing"


@BY_NAME
def test_health_in_flux(document: Json, argo: str, flux: str) -> None:
    """In the order in which Flux asks; none of them is true: it goes on waiting."""
    del argo
    (health,) = FLUX_HEALTH["spec"]["healthCheckExprs"]
    assert (health["apiVersion"], health["kind"]) == (document["apiVersion"], document["kind"])
    assert in_flux(document) == flux


@BY_NAME
def test_wait_for_healthy_ends_as_they_say(document: Json, argo: str, flux: str) -> None:
    """`canary wait --for healthy`, Argo CD and Flux go by one definition: what is current is reached, what has failed is missed."""
    assert (argo == "Healthy") is (flux == "current")
    ends = {"current": Reached, "failed": Missed}
    assert type(judge(Goal.parse("healthy"), view(document | {"spec": {}}))) is ends.get(flux, Waiting)


@pytest.mark.parametrize("phase", Phase)
def test_wait_for_healthy_does_so_in_every_phase_whatever_the_reason(phase: Phase) -> None:
    """The same for every reason that there is."""
    wrong = phase is Phase.INVALID
    ends = {"current": Reached, "failed": Missed}
    for reason in EVERY:
        document = rollout(
            phase, reason=reason, pause=reason if phase is Phase.PAUSED else "", facts=WRONG if wrong else FACTS
        )
        said = judge(Goal.parse("healthy"), view(document | {"spec": {}}))
        assert type(said) is ends.get(in_flux(document), Waiting), (reason, said)


EVERY = tuple(
    sorted(
        {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
        | {reason.value for reason in Reason}
    )
)
"""Every reason there is, of a run and of what a preflight finds."""
STUCK = {
    *("Contested", "LoweredByHand", "StableChanged"),
    *("CheckFailed", "HoldLimitExceeded", "NotAccepted", "CanaryTooSmall", "GateTimedOut"),
}
"""Pauses that nobody asked for. Of others somebody knows."""


def expected(phase: Phase, reason: str) -> tuple[str, str]:
    """What the page says of a Rollout whose spec can work: in Argo CD, and in Flux."""
    match phase:
        case Phase.IDLE | Phase.SUCCEEDED:
            return "Healthy", "current"
        case Phase.PROGRESSING | Phase.PROMOTING | Phase.ROLLING_BACK:
            return "Progressing", "inProgress"
        case Phase.PAUSED:
            return ("Degraded", "failed") if reason in STUCK else ("Suspended", "inProgress")
        case Phase.ROLLED_BACK if reason == "Superseded":
            return "Healthy", "current"
        case Phase.ROLLED_BACK:
            return "Suspended" if reason == "Aborted" else "Degraded", "failed"
        case Phase.INVALID:
            return "Degraded", "failed"


@pytest.mark.parametrize("phase", Phase)
def test_health_in_every_phase_whatever_the_reason(phase: Phase) -> None:
    """Each reason that a run can have or end with, and each for which a preflight says that none could begin: by Lua and by CEL."""
    wrong = phase is Phase.INVALID
    for reason in EVERY:
        document = rollout(
            phase, reason=reason, pause=reason if phase is Phase.PAUSED else "", facts=WRONG if wrong else FACTS
        )
        assert (in_argo(document), in_flux(document)) == expected(phase, reason), reason
    resting = phase in {Phase.IDLE, Phase.SUCCEEDED}
    for against in Reason if resting else ():
        finding = Finding(against, Who.PLATFORM, "something is missing", "make it", "spec.routes[0]")
        found = rollout(phase, reason=reasons.SETTLED, facts=replace(FACTS, findings=(finding,)))
        assert (in_argo(found), in_flux(found)) == ("Degraded", ""), against


@pytest.mark.parametrize("phase", Phase)
def test_a_spec_that_cannot_work_is_degraded_in_every_phase(phase: Phase) -> None:
    """Also in the middle of a run, which goes on by what it was."""
    document = rollout(phase, reason=reasons.INVALID, pause=reasons.AWAITING_APPROVAL, facts=WRONG)
    assert (in_argo(document), in_flux(document)) == ("Degraded", "failed")


def test_flux_waits_for_a_status() -> None:
    """Without conditions none of its expressions is true, or can be evaluated, which to Flux is the same: it asks again."""
    assert in_flux({"status": {"phase": "Progressing", "conditions": []}}) == ""
    for status in ({}, {"phase": "Progressing"}):
        with pytest.raises(KeyError, match="conditions"):
            in_flux({"status": status})


# -- actions ----------------------------------------------------------------------------------------------------------


def actions() -> Json:
    found: Json = yaml.safe_load(ARGO["data"]["resource.customizations.actions.canary.dev_Rollout"])
    return found


@pytest.mark.parametrize("annotations", [None, {"team": "pay"}])
def test_an_action_sets_the_request(annotations: Json | None) -> None:
    """The verb of its name, which the controller knows; other annotations stay."""
    for action in actions()["definitions"]:
        document = rollout(Phase.PAUSED, pause=reasons.AWAITING_APPROVAL)
        if annotations:
            document["metadata"]["annotations"] = annotations
        after = dict(lua(action["action.lua"], document).metadata.annotations)
        request = parse_request(after.pop(REQUEST_ANNOTATION))
        assert request is not None
        assert request.known == action["name"]
        assert after == (annotations or {})


@pytest.mark.parametrize(
    ("document", "open_"),
    [
        ({"metadata": {}}, set()),
        (rollout(Phase.IDLE), set()),
        (rollout(Phase.PROGRESSING), {"abort"}),
        (rollout(Phase.PAUSED, pause=reasons.LOWERED_BY_HAND), {"abort", "resume"}),
        (rollout(Phase.PAUSED, pause=reasons.AWAITING_APPROVAL), {"promote", "abort"}),
        (rollout(Phase.PAUSED, pause=reasons.PAUSED_BY_SPEC), {"abort"}),
        (rollout(Phase.ROLLING_BACK), set()),
        (rollout(Phase.ROLLED_BACK), {"retry"}),
    ],
)
def test_actions_that_are_offered(document: Json, open_: set[str]) -> None:
    """Every one is defined; those that make sense in the phase are enabled."""
    found = lua(actions()["discovery.lua"], document)
    assert set(found) == {action["name"] for action in actions()["definitions"]}
    assert {name for name in found if not found[name].disabled} == open_


def stands(phase: Phase, pause: str, outcome: Outcome | None, spec: Json) -> tuple[Json, Scope]:
    """A Rollout where it stands: as Argo CD sees it, and as the controller does."""
    document = rollout(phase, pause=pause)
    document["spec"] = {
        "routes": [{"name": "pay"}],
        "stable": {"service": "pay-stable", "port": 8080},
        "canary": {"service": "pay-canary", "port": 8080},
        "paused": pause == reasons.PAUSED_BY_SPEC,
        **spec,
    }
    if outcome is not None:
        document["status"]["run"]["outcome"] = outcome.value
    read = RolloutSpec.model_validate(document["spec"])
    return document, Scope(read, RolloutStatus.load(document["status"]), FACTS)


WORKLOADS = {"stable": {"name": "pay-stable"}, "canary": {"name": "pay-canary"}}
SPECS: list[Json] = [
    {"steps": [{"weight": 10, "approval": {}}, {"weight": 50}]},
    {"steps": [{"weight": 10}, {"weight": 50, "approval": {}}], "workloads": WORKLOADS, "promotion": "Copy"},
    {"steps": [{"weight": 10, "approval": {}}], "workloads": WORKLOADS, "promotion": "Await"},
]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("phase", Phase)
def test_an_action_that_is_offered_is_done_and_one_that_is_not_would_be_refused(phase: Phase, spec: Json) -> None:
    """In every phase, for every reason to be paused, and while traffic only returns: by the code that serves requests."""
    pauses = sorted(BY_POLICY | BY_HAND | STUCK | {reasons.PAUSED_BY_SPEC})
    pauses += [reasons.AWAITING_APPROVAL] if "approval" in spec["steps"][0] else []
    outcomes = [Outcome.SUCCEEDED, None] if phase is Phase.PROMOTING else [None]
    ended = {Phase.ROLLED_BACK: Outcome.ROLLED_BACK, Phase.SUCCEEDED: Outcome.SUCCEEDED}
    for pause, outcome in product(pauses if phase is Phase.PAUSED else [""], outcomes):
        document, scope = stands(phase, pause, outcome or ended.get(phase), spec)
        found = lua(actions()["discovery.lua"], document)
        for action in actions()["definitions"]:
            verb = action["name"]
            request = parse_request(json.dumps({"id": "1", "verb": verb, "by": "argo"}))
            assert request is not None
            following = serve(scope, request)
            status = following.status if isinstance(following, Decision) else following.scope.status
            assert status.last_request is not None
            done = status.last_request.outcome is RequestOutcome.DONE
            assert found[verb].disabled is not done, (verb, pause, outcome, status.last_request.message)


# -- Flux -------------------------------------------------------------------------------------------------------------


def test_flux_is_told_the_places_of_both_weights() -> None:
    """Each pointer of the page leads to what a run changes in the route of the page."""
    (ignored,) = FLUX["spec"]["ignore"]
    assert ignored["target"] == {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "pay"}
    live = during(ROUTE, Weights(90, 10), 20)
    for path in ignored["paths"]:
        place: Any = live
        for part in path.split("/")[1:]:
            place = place[int(part)] if isinstance(place, list) else place[part]
    patch = jsonpatch.make_patch(ROUTE, live)
    assert {change["path"] for change in patch} == set(ignored["paths"])


# -- the component keep-weights -----------------------------------------------------------------------------------------


def test_the_list_of_the_page_replaces_that_of_both_policies(tmp_path: Path) -> None:
    """The patch of the page, which the component shows too, names others in the policy that keeps and in the one that warns."""
    mine = overlay_with(tmp_path, "cluster-wide")
    text = yaml.safe_load((mine / "kustomization.yaml").read_text())
    components = [f"../canary/components/{Path(one).name}" for one in KEPT["components"]]
    (mine / "kustomization.yaml").write_text(
        yaml.safe_dump(text | {"components": components, "patches": KEPT["patches"]})
    )
    policies = [one for one in kustomized(mine) if one["kind"].endswith("AdmissionPolicy")]
    assert len(policies) == 2
    (operation,) = yaml.safe_load(KEPT["patches"][0]["patch"])
    for policy in policies:
        first, *others = policy["spec"]["matchConditions"]
        assert first == {"name": "listed-applier", "expression": operation["value"]}
        assert [one["name"] for one in others] == ["run-under-way", "not-bypassed"]
    head = (ROOT / "deploy/kustomize/components/keep-weights/kustomization.yaml").read_text()
    shown = "\n".join(line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   "))
    assert yaml.safe_load(shown) == KEPT["patches"]
