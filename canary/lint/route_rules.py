"""What the rules of a route say that is probably not meant, whatever stands around it: any route that has the shape of one."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple

from canary.lint.findings import Path, Severity
from canary.model.rollout import RouteKind
from canary.model.values import decimal_text
from canary.routes.kinds import FORMS
from canary.routes.matching import covers
from canary.routes.pair import weight_of
from canary.routes.precedence import matches_of, outranks
from canary.routes.unpaired import rule_words

Json = dict[str, Any]


class Reason(StrEnum):
    """Part of what scripts may rely on, like the reasons of a preflight. None of these is a reason of a Rollout."""

    MALFORMED = "MalformedRoute"
    NOT_IN_THIS_KIND = "NotInThisKind"
    SENDS_NOWHERE = "RuleSendsNowhere"
    NO_PERCENTAGES = "WeightsAreNoPercentages"
    NEVER_MATCHES = "RuleNeverMatches"
    MAY_NOT_READ = "MayNotRead"


class Oddity(NamedTuple):
    """What is odd about a rule, at the path of it in the route."""

    severity: Severity
    reason: Reason
    path: Path
    message: str
    advice: str


def oddities(route: Json) -> Iterator[Oddity]:
    """Everything odd about the rules of a route of a kind that we know."""
    kind, rules = RouteKind(route["kind"]), route["spec"].get("rules") or []
    yield from strange(kind, route["metadata"]["name"], rules)
    if not rules:
        yield _nowhere(kind, ("spec", "rules"), "the route has no rules, so it")
    for index, rule in enumerate(rules):
        path: Path = ("spec", "rules", index)
        words, refs = rule_words(rules, index), rule.get("backendRefs") or ()
        if not refs and not _answers_itself(rule):
            yield _nowhere(kind, path, f"{words} has no backendRefs, so it")
        if refs and not any(weight_of(ref.get("weight")) for ref in refs):
            out = f"all weights of {words} are 0, so none of its {FORMS[kind].unit} are sent anywhere: every one fails"
            yield Oddity(Severity.ERROR, Reason.SENDS_NOWHERE, (*path, "backendRefs"), out, "give a backend a weight")
        yield from _percentages(words, refs, path)
    if FORMS[kind].matches:
        yield from _unreachable(kind, rules)


_ANSWERS = {
    RouteKind.HTTP: "answers every request with 500",
    RouteKind.GRPC: "answers every call with UNAVAILABLE",
    RouteKind.TLS: "refuses every connection",
    RouteKind.TCP: "refuses every connection",
    RouteKind.UDP: "drops everything",
}
"""What the Gateway API has a rule do that has nothing to send to."""

SILENT = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "URLRewrite"})
"""Filters that answer no request. Of others that is for their gateways to know: they may."""


def _nowhere(kind: RouteKind, path: Path, words: str) -> Oddity:
    # A warning: some close a path with such a rule on purpose.
    message = f"{words} {_ANSWERS[kind]}"
    return Oddity(Severity.WARNING, Reason.SENDS_NOWHERE, path, message, "name a backend, or take the rule out")


def _answers_itself(rule: Json) -> bool:
    return any(item.get("type") not in SILENT for item in rule.get("filters") or ())


def strange(kind: RouteKind, name: str, rules: list[Json]) -> Iterator[Oddity]:
    """What rules of the kind cannot have: the API server refuses it, or drops it without a word."""
    form = FORMS[kind]
    for index, rule in enumerate(rules):
        has = [part for part, can in (("matches", form.matches), ("filters", form.filters)) if not can and part in rule]
        if has:
            words = f"spec.rules[{index}] of {kind} {name} has {' and '.join(has)}; rules of a {kind} have none"
            advice = (
                "take that out: connections are told apart by the listener alone, and of a TLSRoute by its hostnames"
            )
            path: Path = ("spec", "rules", index, has[0])
            yield Oddity(Severity.ERROR, Reason.NOT_IN_THIS_KIND, path, words, advice)
    if form.by_connection and len(rules) > 1:
        words = f"{kind} {name} has {len(rules)} rules; from Gateway API 1.6 on the API server takes one"
        yield Oddity(Severity.WARNING, Reason.NOT_IN_THIS_KIND, ("spec", "rules", 1), words, "make a route of each")


LOOKS_LIKE = range(80, 121)
"""A sum of weights that somebody may have taken for 100."""


def _percentages(words: str, refs: Any, path: Path) -> Iterator[Oddity]:
    """Weights that were meant as percentages, by the look of them: two or more, up to 100, unequal, with a sum that is almost it."""
    weights = [ref.get("weight") for ref in refs]
    given = [weight for weight in weights if weight]
    if None in weights or len(given) < 2 or len(set(given)) == 1 or max(given) < 50 or max(given) > 100:
        return
    total = sum(given)
    if total == 100 or total not in LOOKS_LIKE:
        return
    shown = "/".join(map(str, weights))
    shares = " / ".join(f"{decimal_text(round(Fraction(100 * weight, total), 1))} %" for weight in weights)
    message = (
        f"the weights of {words} are {shown}, which makes {shares}: weights are relative, and these add up to {total}"
    )
    yield Oddity(
        Severity.WARNING,
        Reason.NO_PERCENTAGES,
        (*path, "backendRefs"),
        message,
        "let them add up to 100 if that is meant",
    )


def _unreachable(kind: RouteKind, rules: list[Json]) -> Iterator[Oddity]:
    """Rules of which every match is taken by one before it that asks for no more and ranks as high."""
    before: list[tuple[int, Json]] = []
    for index, rule in enumerate(rules):
        matches = matches_of(kind, rule)
        takers = [next((place for place, match in before if _takes(kind, match, mine)), None) for mine in matches]
        if takers and None not in takers:
            whose = " and ".join(dict.fromkeys(rule_words(rules, place) for place in takers if place is not None))
            message = f"{rule_words(rules, index)} never gets a request: {whose} comes first and matches the same"
            advice = "take one of them out, or let it match more closely"
            yield Oddity(Severity.WARNING, Reason.NEVER_MATCHES, ("spec", "rules", index), message, advice)
        before += [(index, match) for match in matches]


def _takes(kind: RouteKind, first: Json, second: Json) -> bool:
    """Whether every request of the second match goes to the first, whose rule comes before: certain where they rank alike."""
    return (
        covers(kind, first, second)
        and outranks(kind, first, second) is False
        and outranks(kind, second, first) is False
    )
