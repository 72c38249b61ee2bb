"""The rules that send requests which opt in to the canary, built from the rules that list our pair; or why none may be added.

For each such rule one that is a deep copy of it, with another name, its matches each narrowed by what opts in, and the canary's own
backendRef alone (a mirror of ours is no part of the rule). A request that opts in, and that one of our rules serves, goes to the
canary then; every other one goes where it went before. Both hold because a copy ranks right above the rule that it is of, as long
as no rule of somebody else's stands between the two: that is computed here, over all rules of the route and before anything is
written.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from canary.routes.added import Spot, mark_of, name_end
from canary.routes.added_refusals import REFUSALS, Asked, Copy, Refused
from canary.routes.adding import AddRule
from canary.routes.filters import unmirrored
from canary.routes.matching import Condition
from canary.routes.pair import Backend, Recipient
from canary.routes.precedence import matches_of
from canary.routes.rules import RulePair

Json = dict[str, Any]

LONGEST_NAME = 253
"""Characters that the name of a rule may have."""


def added_rules(
    kind: str,
    route: Json,
    sources: Sequence[RulePair],
    conditions: Sequence[Condition],
    *,
    allow_regex_paths: bool = False,
) -> tuple[AddRule, ...] | Refused:
    """Build the rules to add, in the order of those that they are copies of.

    Args:
        kind: of the route: HTTPRoute or GRPCRoute.
        route: as it is without rules that were added before (`adding.without`).
        sources: the rules to copy, with our pair.
        conditions: what opts in; a request has to meet one of them.
        allow_regex_paths: the user knows how the gateway ranks rules that match by regular expressions.

    """
    metadata = route.get("metadata", {})
    rules = route.get("spec", {}).get("rules") or []
    copies = tuple(_copied(kind, sources, conditions, metadata.get("namespace", "")))
    asked = Asked(
        kind,
        metadata.get("name", ""),
        metadata.get("namespace", ""),
        rules,
        tuple(sources),
        tuple(conditions),
        allow_regex_paths,
        copies,
    )
    for refusal in REFUSALS:
        refused = refusal(asked)
        if refused is not None:
            return refused
    count = len(rules) + len(copies)
    return tuple(
        replace(AddRule.of(each.document, asked.namespace), spot=Spot(index, count))
        for index, each in enumerate(copies, start=len(rules))
    )


def _copied(kind: str, sources: Sequence[RulePair], conditions: Sequence[Condition], namespace: str) -> Iterator[Copy]:
    """Rules that are alike need one copy: the first of them gets all requests of both."""
    seen = set()
    for source in sources:
        matches = tuple(
            (match, condition.narrowed(kind, match))
            for match in matches_of(kind, source.document)
            for condition in conditions
        )
        ref = source.document["backendRefs"][source.canary]
        canary = Recipient(Backend(ref["name"], ref.get("namespace") or namespace, ref["port"]), by_port=True)
        # A mirror of a run's own is no part of a rule (0028); and whoever the canary serves already would be served twice by one.
        rule = unmirrored(unmirrored(source.document, canary, namespace), source.copied_to, namespace)
        rule = copy.deepcopy(rule)
        rule["matches"] = [narrowed for _, narrowed in matches]
        rule["backendRefs"] = [rule["backendRefs"][source.canary] | {"weight": 1}]
        mark = mark_of(rule, namespace)
        if source.name is not None:
            end = name_end(mark)
            rule["name"] = source.name[: LONGEST_NAME - len(end)].rstrip("-.") + end
        if mark not in seen:
            seen.add(mark)
            yield Copy(source, rule, matches)
