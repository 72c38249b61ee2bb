"""Why rules for opted-in requests may not be added to a route: an ordered list of named objections, the first of which counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from canary.routes.added import mark_of
from canary.routes.identity import rule_key
from canary.routes.matching import Condition, covers, meet
from canary.routes.precedence import GRPC_ROUTE, Undecidable, matches_of, order, outranks
from canary.routes.rules import RulePair
from canary.routes.unpaired import rule_words

Json = dict[str, Any]

MOST_RULES = 16
MOST_MATCHES = 64
MOST_MATCHES_OF_ALL = 128
MOST_FIELDS = 16
MOST_FILTERS = 16
"""Limits of the released HTTPRoute and GRPCRoute definitions."""


class Why(StrEnum):
    """Why no rule may be added."""

    UNSUPPORTED = "UnsupportedMatch"
    ADDS_NOTHING = "MatchAddsNothing"
    TAKEN = "HeaderTaken"
    REGULAR_EXPRESSION = "RegularExpressionPath"
    REWRITES_PREFIX = "RewritesPrefix"
    TOO_MANY = "TooManyMatches"
    OUTRANKS = "OutranksRule"
    UNDECIDABLE = "UnknownPrecedence"


@dataclass(frozen=True, slots=True)
class Refused:
    """No rule is added to a route. `rule` is the key of the rule that stands in the way; the message says what to do."""

    why: Why
    message: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """What is to be added for one rule; `matches` are pairs of what a match was, and what it is in the copy."""

    source: RulePair
    document: Json
    matches: tuple[tuple[Json, Json], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a refusal looks at."""

    kind: str
    route: str
    namespace: str
    rules: list[Json]
    sources: tuple[RulePair, ...]
    conditions: tuple[Condition, ...]
    allow_regex_paths: bool
    copies: tuple[Copy, ...]

    def words(self, index: int) -> str:
        return f"{rule_words(self.rules, index)} of route {self.route}"

    @property
    def others(self) -> tuple[tuple[int, Json], ...]:
        """Every match of the rules that are not copied, and where its rule is."""
        copied = {source.rule for source in self.sources}
        return tuple(
            (index, match)
            for index, rule in enumerate(self.rules)
            if index not in copied
            for match in matches_of(self.kind, rule)
        )


def _unsupported(asked: Asked) -> Refused | None:
    if asked.kind == GRPC_ROUTE and any(condition.query_params for condition in asked.conditions):
        return Refused(
            Why.UNSUPPORTED, f"route {asked.route} is a GRPCRoute, which has no query parameters; match headers"
        )
    return None


def _empty(asked: Asked) -> Refused | None:
    if not asked.sources:
        return Refused(Why.ADDS_NOTHING, f"no rule of route {asked.route} lists both backends, so `match` adds none")
    if not asked.conditions or not all(each.headers or each.query_params for each in asked.conditions):
        return Refused(
            Why.ADDS_NOTHING, "`match` has an entry that asks for nothing; give it a header or a query parameter"
        )
    return None


def _taken(asked: Asked) -> Refused | None:
    for source in asked.sources:
        for match in matches_of(asked.kind, source.document):
            for condition in asked.conditions:
                if field := condition.taken(match):
                    return Refused(
                        Why.TAKEN,
                        f"{asked.words(source.rule)} would match {field} twice; give `match` another one, or if the rule is "
                        "there for requests that opt in, give it a name and a share under `rules`",
                        source.key,
                    )
    return None


def _regular_expression(asked: Asked) -> Refused | None:
    if asked.allow_regex_paths:
        return None
    for source in asked.sources:
        matches = matches_of(asked.kind, source.document)
        if any(order(asked.kind, match) is Undecidable.REGULAR_EXPRESSION for match in matches):
            return Refused(
                Why.REGULAR_EXPRESSION,
                f"{asked.words(source.rule)} matches by a regular expression, and {Undecidable.REGULAR_EXPRESSION}; "
                "say `allowRegexPaths: true` if yours ranks a rule with more headers first",
                source.key,
            )
    return None


def _rewrites_prefix(asked: Asked) -> Refused | None:
    for each in asked.copies:
        filters = [*_filters(each.document), *_filters(each.document["backendRefs"][0])]
        if len(each.matches) > 1 and any(_replaces_prefix(one) for one in filters):
            return Refused(
                Why.REWRITES_PREFIX,
                f"{asked.words(each.source.rule)} replaces a prefix of the path, for which the Gateway API allows one match "
                "only; let `match` have one entry",
                each.source.key,
            )
    return None


def _too_many(asked: Asked) -> Refused | None:
    rules = len(asked.rules) + len(asked.copies)
    if rules > MOST_RULES:
        return _limit("", f"route {asked.route} would have {rules} rules", f"{MOST_RULES}")
    every = sum(len(matches_of(asked.kind, rule)) for rule in asked.rules) + sum(
        len(each.matches) for each in asked.copies
    )
    if every > MOST_MATCHES_OF_ALL:
        return _limit("", f"route {asked.route} would have {every} matches", f"{MOST_MATCHES_OF_ALL}")
    for each in asked.copies:
        where = f"a copy of {asked.words(each.source.rule)}"
        ref = each.document["backendRefs"][0]
        counts = (
            ("matches", len(each.matches), MOST_MATCHES),
            ("headers in a match", max(len(match.get("headers") or ()) for _, match in each.matches), MOST_FIELDS),
            (
                "query parameters in a match",
                max(len(match.get("queryParams") or ()) for _, match in each.matches),
                MOST_FIELDS,
            ),
            ("filters", max(len(_filters(each.document)), len(_filters(ref))), MOST_FILTERS),
        )
        for what, count, most in counts:
            if count > most:
                return _limit(each.source.key, f"{where} would have {count} {what}", f"{most}")
        names = {rule.get("name") for rule in asked.rules} - {None}
        if each.document.get("name") in names:
            return _limit(each.source.key, f"{where} would be the second one named {each.document['name']}", "one")
    return None


def _limit(rule: str, what: str, most: str) -> Refused:
    return Refused(
        Why.TOO_MANY,
        f"{what}, and the Gateway API allows {most}; let `match` ask for less, or name fewer rules in spec.routes[].rules",
        rule,
    )


def _outranks(asked: Asked) -> Refused | None:
    """A rule that is not copied loses requests if it ranks between a match and its copy.

    One that is copied as well does not: its own copy ranks above it by the same headers and query parameters.
    """
    others = asked.others
    for each in asked.copies:
        for match, narrowed in each.matches:
            for index, other in others:
                if not meet(asked.kind, narrowed, other):
                    continue
                refused = _between(asked, each.source, (match, narrowed), (index, other))
                if refused is not None:
                    return refused
    return None


def _between(asked: Asked, source: RulePair, copied: tuple[Json, Json], there: tuple[int, Json]) -> Refused | None:
    """Whether a match comes first there before a copy is added, and not after."""
    (match, narrowed), (index, other) = copied, there
    after, before = outranks(asked.kind, narrowed, other), outranks(asked.kind, match, other)
    where, rival = asked.words(source.rule), asked.words(index)
    advice = (
        "let `match` ask for fewer headers or query parameters, or prepare a rule of your own for these requests, with the "
        "canary at weight 0, and give it a share under `rules`"
    )
    for answer in (after, before):
        if isinstance(answer, Undecidable):
            if answer is Undecidable.REGULAR_EXPRESSION and asked.allow_regex_paths:
                return None
            message = f"nobody can tell whether a copy of {where} would take requests from {rival}: {answer}; {advice}"
            return Refused(Why.UNDECIDABLE, message, _key(asked, index))
    evenly = before is False and outranks(asked.kind, other, match) is False
    served_by_source = before is True or (evenly and source.rule < index)
    if after is False or served_by_source:
        return None
    message = f"a copy of {where} would take requests from {rival}, which now come first there; {advice}"
    return Refused(Why.OUTRANKS, message, _key(asked, index))


def _never_used(asked: Asked) -> Refused | None:
    """Every request that a copy is for goes to a rule that ranks above it, or as high and further in front."""
    others, above = asked.others, None
    for each in asked.copies:
        for _, narrowed in each.matches:
            above = next(
                (
                    index
                    for index, other in others
                    if covers(asked.kind, other, narrowed) and outranks(asked.kind, narrowed, other) is False
                ),
                None,
            )
            if above is None:
                return None
    if above is None:
        return None
    return Refused(
        Why.ADDS_NOTHING,
        f"{asked.words(above)} gets every request that `match` is for, before a rule that is added; if it is there for them, let "
        "it list both backends and give it a share under `rules`",
        _key(asked, above),
    )


def _there_already(asked: Asked) -> Refused | None:
    """A rule of somebody's that is just what would be added could not be told from ours."""
    copied = {source.rule for source in asked.sources}
    marks = {mark_of(each.document, asked.namespace): each for each in asked.copies}
    for index, rule in enumerate(asked.rules):
        if index not in copied and mark_of(rule, asked.namespace) in marks:
            return Refused(
                Why.ADDS_NOTHING,
                f"{asked.words(index)} sends all requests that `match` is for to the canary already, at any time; take it away, or "
                "let it list both backends and give it a share under `rules`",
                _key(asked, index),
            )
    return None


REFUSALS = (
    _unsupported,  # the kind of route has no such thing
    _empty,  # nothing would be added
    _taken,  # gateways count only the first header of a name
    _regular_expression,  # nobody can tell what comes first
    _rewrites_prefix,  # the API server would refuse the route
    _too_many,  # the same
    _there_already,  # nothing would be added, and somebody's rule taken for ours
    _outranks,  # somebody else's requests would go to the canary
    _never_used,  # what is added would get none
)


def _filters(holder: Json) -> list[Json]:
    return holder.get("filters") or []


def _replaces_prefix(one: Json) -> bool:
    changes = ((one.get(member) or {}).get("path") or {} for member in ("urlRewrite", "requestRedirect"))
    return any(change.get("replacePrefixMatch") is not None for change in changes)


def _key(asked: Asked, index: int) -> str:
    return rule_key(index, asked.rules[index])
