"""Whether the gateways of a route can do what its own rules ask of them, without a Rollout: copies of requests, so far.

Only a gateway that publishes what it can, and that not, is held against a route: it may well be accepted, and every request answered
with 500. Where nothing is published, that it is accepted is all that there is to go by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canary.preflight.findings import Finding, Reason, Who
from canary.preflight.support import offers
from canary.preflight.surroundings import Surroundings
from canary.routes.features import Feature, Source, missing
from canary.routes.reading import RouteReading

Json = dict[str, Any]


_INSTEAD = {True: "answer every request with 500", False: "copy more, or less, than is asked for"}
"""What was seen of gateways that lack mirrors at all, or only some of them."""


def undone(reading: RouteReading, around: Surroundings) -> Iterator[Finding]:
    """One finding for each class of gateways that says itself that it lacks something. The route has the shape of one."""
    needed = _needed(reading)
    told: set[str] = set()
    if not needed:
        return
    for answer in reading.answers:
        for offered, subject, _ in offers(answer, around):
            lacking = missing(needed, offered)
            if offered.source is Source.PUBLISHED and lacking and subject not in told:
                told.add(subject)
                names, field = " and ".join(lacking), needed[lacking[0]]
                words = f"{subject} publishes what its gateways can, and {names} is not among it"
                words += f": some accept such a mirror and {_INSTEAD[Feature.REQUEST_MIRROR in lacking]}"
                advice = f"use a gateway that can, or take the mirror out of {field}"
                yield Finding(Reason.UNSUPPORTED_FEATURE, Who.APP_TEAM, words, advice, field)


def _needed(reading: RouteReading) -> dict[Feature, str]:
    """The features that the mirrors of an HTTPRoute need, each with the field that needs it first."""
    needed: dict[Feature, str] = {}
    if reading.document.get("kind") != "HTTPRoute":
        return needed  # nothing has a name for what a mirror of another kind needs
    for index, rule in enumerate(reading.rules):
        filters = rule.get("filters") or ()
        mirrors = [(place, item) for place, item in enumerate(filters) if item.get("type") == "RequestMirror"]
        for place, item in mirrors:
            field = f"spec.rules[{index}].filters[{place}]"
            needed.setdefault(Feature.REQUEST_MIRROR, field)
            if {"percent", "fraction"} & (item.get("requestMirror") or {}).keys():
                needed.setdefault(Feature.REQUEST_PERCENTAGE_MIRROR, field)
            if len(mirrors) > 1:
                needed.setdefault(Feature.REQUEST_MULTIPLE_MIRRORS, field)
    return needed
