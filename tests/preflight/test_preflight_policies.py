"""Policies that know a rule by its name: what targets it, in all the ways that they say so, and what is only about all of the route."""

from __future__ import annotations

from typing import Any

import pytest

from canary.preflight.objects import Policy
from canary.preflight.surroundings import POLICY, Documents

Json = dict[str, Any]


def policy(spec: Json, namespace: str = "team") -> Json:
    return {"kind": "SecurityPolicy", "metadata": {"name": "login", "namespace": namespace}, "spec": spec}


def target(**more: Any) -> Json:
    found = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop", "sectionName": "pay"} | more
    return {name: value for name, value in found.items() if value is not None}


TARGETS = [
    ("one", {"targetRef": target()}, True),
    ("several", {"targetRefs": [target(name="api"), target()]}, True),
    ("a selector of routes", {"targetSelectors": [target(name=None, matchLabels={"app": "shop"})]}, True),
    ("a namespace that is spelled out", {"targetRefs": [target(namespace="team")]}, True),
    ("all of the route", {"targetRefs": [target(sectionName=None)]}, False),
    ("another rule", {"targetRefs": [target(sectionName="other")]}, False),
    ("another route", {"targetRefs": [target(name="api")]}, False),
    ("another kind", {"targetRefs": [target(kind="GRPCRoute")]}, False),
    ("another namespace", {"targetRefs": [target(namespace="far")]}, False),
    ("nothing", {}, False),
    ("nonsense", {"targetRef": "shop", "targetRefs": {"sectionName": "pay"}, "targetSelectors": [7]}, False),
]


@pytest.mark.parametrize(("spec", "about"), [row[1:] for row in TARGETS], ids=[row[0] for row in TARGETS])
def test_which_policies_are_about_a_rule(spec: Json, about: bool) -> None:
    """Whatever they write; a selector may mean any route of the kind, which is no no."""
    found = Policy.read(policy(spec))
    assert found.targets_rule("HTTPRoute", "team", "shop", "pay") is about
    assert found.label == "SecurityPolicy login"


def test_not_knowing_is_not_knowing_of_none() -> None:
    """Of files nobody can tell; of a cluster whose policies are known, those there are."""
    assert Documents([policy({"targetRef": target()})]).policies("team") is None
    known = Documents([policy({"targetRef": target()})], known=[(POLICY, "team")])
    assert [found.name for found in known.policies("team") or ()] == ["login"]
    assert known.policies("far") is None
