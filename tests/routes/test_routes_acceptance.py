"""Whether the gateways serve what a route says."""

from __future__ import annotations

from typing import Any

import pytest

from canary.routes.acceptance import acceptance, last_writer

Json = dict[str, Any]


def condition(kind: str, status: str = "True", generation: int = 3, **more: str) -> Json:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": "m", **more}


def report(name: str = "gw", *conditions: Json, controller: str = "a", **ref: Any) -> Json:
    said = conditions or (condition("Accepted"), condition("ResolvedRefs"))
    return {"parentRef": {"name": name, **ref}, "controllerName": controller, "conditions": list(said)}


def route(parents: list[Json], reports: list[Json] | None) -> Json:
    document: Json = {"metadata": {"name": "r", "namespace": "team", "generation": 3}, "spec": {"parentRefs": parents}}
    return document if reports is None else {**document, "status": {"parents": reports}}


GW = {"name": "gw"}
FULL = {
    "group": "gateway.networking.k8s.io",
    "kind": "Gateway",
    "namespace": "team",
    "name": "gw",
}
MESH = {"group": "", "kind": "Service", "name": "s"}

YES = [
    pytest.param([GW], [report()], id="one parent says yes"),
    pytest.param([GW], [report(**{k: v for k, v in FULL.items() if k != "name"})], id="defaults spelled out there"),
    pytest.param([FULL], [report()], id="defaults spelled out here"),
    pytest.param(
        [GW], [report("gw", condition("Accepted", generation=4), condition("ResolvedRefs"))], id="an even newer answer"
    ),
    pytest.param([GW], [report(), report(controller="b")], id="two controllers say yes"),
    pytest.param([GW, {"name": "other"}], [report(), report("other")], id="two parents say yes"),
    pytest.param([GW], [report(), report("former", condition("Accepted", "False"))], id="a former parent says no"),
    pytest.param([MESH], [report("s", group="", kind="Service")], id="a Service is the parent (mesh)"),
    pytest.param(
        [{"name": "gw", "sectionName": "a"}, {"name": "gw", "sectionName": "b"}],
        [report(sectionName="a"), report(sectionName="b")],
        id="two listeners say yes",
    ),
    pytest.param(
        [GW],
        [
            report(
                "gw", condition("Accepted"), condition("ResolvedRefs"), condition("Programmed", "False", generation=1)
            )
        ],
        id="other conditions are not asked",
    ),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted", generation=2), controller="gone"), report()],
        id="what a removed controller left behind does not count",
    ),
    pytest.param(
        [GW], [report("gone", condition("Accepted", "False")), report()], id="nor a parent that the spec does not name"
    ),
]


@pytest.mark.parametrize(("parents", "reports"), YES)
def test_accepted(parents: list[Json], reports: list[Json]) -> None:
    """Every parent of the spec is answered for, at this generation, by everybody who answers."""
    found = acceptance(route(parents, reports))
    assert (found.accepted, found.refused, found.message) == (True, False, "")


WAITING = [
    pytest.param([GW], None, "Gateway gw has not answered for the route yet", id="no status at all"),
    pytest.param([GW], [], "Gateway gw has not answered for the route yet", id="nobody answered"),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted", generation=2), condition("ResolvedRefs", generation=2))],
        "Gateway gw has not answered for generation 3 yet (Accepted)",
        id="an older generation",
    ),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted"), condition("ResolvedRefs", generation=2))],
        "(ResolvedRefs)",
        id="one condition is older",
    ),
    pytest.param([GW], [report("gw", condition("Accepted"))], "(ResolvedRefs)", id="one condition is missing"),
    pytest.param(
        [GW],
        [report("gw", {"type": "Accepted", "status": "True"}, condition("ResolvedRefs"))],
        "(Accepted)",
        id="a condition without a generation is about none",
    ),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted", "False", generation=2), condition("ResolvedRefs"))],
        "has not answered for generation 3",
        id="an old no is no answer to the new question",
    ),
    pytest.param(
        [GW, {"name": "other"}], [report()], "Gateway other has not answered", id="the second parent is silent"
    ),
    pytest.param(
        [GW], [report(namespace="other")], "has not answered for the route", id="a Gateway elsewhere says yes"
    ),
    pytest.param([GW], [report(sectionName="a")], "has not answered for the route", id="only one listener says yes"),
    pytest.param(
        [{"name": "gw", "sectionName": "a"}, {"name": "gw", "sectionName": "b"}],
        [report(sectionName="a")],
        "Gateway gw (b) has not answered",
        id="the other listener is silent",
    ),
    pytest.param([MESH], [report("s")], "Service s has not answered", id="a Gateway of the Service's name says yes"),
    pytest.param([{"name": "gw", "port": 80}], [report(port=81)], "has not answered", id="another port says yes"),
]


@pytest.mark.parametrize(("parents", "reports", "message"), WAITING)
def test_waiting(parents: list[Json], reports: list[Json] | None, message: str) -> None:
    """Somebody has not looked at this generation: not accepted, and not refused either."""
    found = acceptance(route(parents, reports))
    assert (found.accepted, found.refused) == (False, False)
    assert message in found.message


REFUSED = [
    pytest.param([], [report()], "no parentRefs", id="no parents"),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted", "False", reason="NotAllowedByListeners"), condition("ResolvedRefs"))],
        "Gateway gw says Accepted=False (NotAllowedByListeners: m)",
        id="not accepted",
    ),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted"), condition("ResolvedRefs", "False", reason="RefNotPermitted"))],
        "Gateway gw says ResolvedRefs=False (RefNotPermitted: m)",
        id="references not resolved",
    ),
    pytest.param(
        [GW],
        [report("gw", condition("Accepted", "Unknown"), condition("ResolvedRefs"))],
        "Accepted=Unknown",
        id="unknown",
    ),
    pytest.param(
        [{"name": "silent"}, GW],
        [report("gw", condition("Accepted", "False"))],
        "Gateway gw says Accepted=False",
        id="a no counts more than a silence",
    ),
    pytest.param(
        [GW],
        [report(), report("gw", condition("Accepted", "False"), controller="b")],
        "Accepted=False",
        id="the second controller says no",
    ),
]


@pytest.mark.parametrize(("parents", "reports", "message"), REFUSED)
def test_refused(parents: list[Json], reports: list[Json], message: str) -> None:
    """Somebody has looked at this very generation and said no."""
    found = acceptance(route(parents, reports))
    assert (found.accepted, found.refused) == (False, True)
    assert message in found.message


def entry(manager: str, time: str, fields: Json | None = None, **more: str) -> Json:
    return {"manager": manager, "time": time, "fieldsV1": fields or {"f:spec": {"f:rules": {}}}, **more}


@pytest.mark.parametrize(
    ("managed", "expected"),
    [
        (None, ""),
        ([], ""),
        ([entry("canary", "2026-01-02T00:00:00Z")], ""),
        ([entry("argocd", "2026-01-01T00:00:00Z"), entry("canary", "2026-01-02T00:00:00Z")], "argocd"),
        ([entry("kubectl-edit", "2026-01-03T00:00:00Z"), entry("argocd", "2026-01-01T00:00:00Z")], "kubectl-edit"),
        ([entry("gateway", "2026-01-03T00:00:00Z", subresource="status")], ""),
        ([entry("labeller", "2026-01-03T00:00:00Z", {"f:metadata": {"f:labels": {}}})], ""),
        ([{"manager": "old"}, entry("argocd", "2026-01-01T00:00:00Z")], "argocd"),
    ],
)
def test_last_writer(managed: list[Json] | None, expected: str) -> None:
    """The field manager, other than us, that wrote the rules last."""
    assert last_writer({"metadata": {"managedFields": managed}}) == expected


def both(generation: int, status: str = "True", controller: str = "a") -> Json:
    conditions = (condition(kind, status, generation) for kind in ("Accepted", "ResolvedRefs"))
    return report("gw", *conditions, controller=controller)


SINCE = [
    pytest.param([both(2)], 2, (True, False), id="it has looked at the one that was written, and is behind since"),
    pytest.param([both(3)], 2, (True, False), id="it has left that one out, and looked at a later one"),
    pytest.param([both(1)], 2, (False, False), id="it has looked at neither"),
    pytest.param([both(2, "False")], 2, (False, True), id="it says no to the one that was written"),
    pytest.param([both(3, "False")], 2, (False, True), id="it says no to a later one, whoever's edit that was"),
    pytest.param([both(1, "False")], 2, (False, False), id="its no is of before"),
    pytest.param([both(2), both(2, "False", "b")], 2, (False, True), id="of two that are behind one says no"),
    pytest.param(
        [both(1, "False"), both(2, controller="b")], 2, (True, False), id="who has gone before counts no more"
    ),
    pytest.param([both(2, "False"), both(3, controller="b")], 2, (True, False), id="nor where somebody is not behind"),
    pytest.param([both(3)], 7, (True, False), id="the route was made anew, and has not come to that generation"),
    pytest.param([both(2)], 7, (False, False), id="and its present one is not looked at"),
    pytest.param([both(2)], 0, (False, False), id="nobody knows since when: the present one"),
]


@pytest.mark.parametrize(("reports", "since", "expected"), SINCE)
def test_an_answer_counts_from_the_generation_on_that_is_asked_for(
    reports: list[Json], since: int, expected: tuple[bool, bool]
) -> None:
    """A gateway is asked for what was written, and not for what somebody else has edited since in another rule."""
    found = acceptance(route([GW], reports), since)
    assert (found.accepted, found.refused) == expected
    if expected == (False, False):
        asked = since if since < 3 and since else 3
        assert found.message == f"Gateway gw has not answered for generation {asked} yet (Accepted)"
