"""Which filters of a rule send copies of requests to the canary, of how many requests, and which rules may be copied from.

A filter counts by what it says, not by how: the API server fills in what was left out, and people write a fifth as a
percentage or as a fraction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from canary.routes.pair import Recipient

Json = dict[str, Any]

ALL = Fraction(100)
MOST_FILTERS = 16
"""As many as the Gateway API lets a rule have."""

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing (RFC 9110, 9.2.1): a request that is made twice does no harm."""

_COPIED = re.compile(r"([0-9]{1,9})(?:/([0-9]{1,9}))?( \[\])?")


@dataclass(frozen=True, slots=True)
class Copied:
    """Of what share of a rule's requests a run sends copies to the canary, in percent; 0: of none any more.

    `bare`: the rule had an empty list of filters before, not none. An absent one is given back as absent.
    """

    share: Fraction
    bare: bool = False

    @property
    def ended(self) -> Copied:
        """The same rule, when nothing is copied from it any more."""
        return Copied(Fraction(0), self.bare)

    def __str__(self) -> str:
        return f"{self.share}{' []' if self.bare else ''}"

    @classmethod
    def parse(cls, text: str) -> Copied:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        found = _COPIED.fullmatch(text)
        if found is None or (found[2] is not None and not int(found[2])):
            raise ValueError(f"{text!r} is no share of a rule's requests")
        share = Fraction(int(found[1]), int(found[2] or 1))
        if share > ALL:
            raise ValueError(f"{text!r} is more than all of a rule's requests")
        return cls(share, found[3] is not None)


def filters_of(rule: Json) -> list[Json]:
    """The filters of a rule; none where it has no list of them."""
    filters = rule.get("filters")
    return filters if isinstance(filters, list) else []


def mirrors(rule: Json, to: Recipient, namespace: str) -> tuple[int, ...]:
    """The places of the filters that send copies to a recipient. `namespace` is the route's.

    Those that name the very port; where none does, those for its Service on another one (docs/decisions/0077).
    """
    places = [index for index, item in enumerate(filters_of(rule)) if _mirrors(item, to, namespace)]
    named = [index for index in places if filters_of(rule)[index]["requestMirror"]["backendRef"].get("port") == to.port]
    return tuple(named or places)


def copied(rule: Json, to: Recipient, namespace: str) -> Fraction:
    """Of what share of a rule's requests copies go to a recipient, in percent; more than 100 where several filters do."""
    filters = filters_of(rule)
    return sum((share_of(filters[index]) for index in mirrors(rule, to, namespace)), Fraction(0))


def unmirrored(rule: Json, to: Recipient, namespace: str) -> Json:
    """A rule without the filters that send copies to a recipient. Not having a list of filters is the same as an empty one."""
    places = set(mirrors(rule, to, namespace))
    left = [item for index, item in enumerate(filters_of(rule)) if index not in places]
    return {**rule, "filters": left} if places else rule


def mirror_filter(ref: Json, share: Fraction) -> Json:
    """The filter that copies a share of the requests (percent) to the backend of a backendRef.

    All of them where it says no share: not every gateway knows percentages, and one that does not would take it for all.
    """
    target: Json = {
        "backendRef": {name: ref[name] for name in ("group", "kind", "namespace", "name", "port") if name in ref}
    }
    if share != ALL and share.denominator == 1:
        target["percent"] = share.numerator
    elif share != ALL:
        part = share / 100
        target["fraction"] = {"numerator": part.numerator, "denominator": part.denominator}
    return {"type": "RequestMirror", "requestMirror": target}


def only_reads(rule: Json) -> bool:
    """Whether a rule takes no other requests than those of safe methods: one without matches takes any."""
    matches = rule.get("matches")
    return (
        isinstance(matches, list)
        and bool(matches)
        and all(isinstance(match, dict) and match.get("method") in READING for match in matches)
    )


def share_of(item: Json) -> Fraction:
    """The share of the requests that a filter that mirrors copies, in percent; all of them where it says none."""
    target = item["requestMirror"]
    percent, fraction = target.get("percent"), target.get("fraction")
    if isinstance(percent, int):
        return Fraction(percent)
    if isinstance(fraction, dict) and isinstance(numerator := fraction.get("numerator"), int):
        denominator = fraction.get("denominator")
        return Fraction(100 * numerator, denominator if isinstance(denominator, int) and denominator > 0 else 100)
    return ALL


def _mirrors(item: Any, to: Recipient, namespace: str) -> bool:
    if not isinstance(item, dict) or item.get("type") != "RequestMirror":
        return False
    target = item.get("requestMirror")
    ref = target.get("backendRef") if isinstance(target, dict) else None
    return isinstance(ref, dict) and to.is_meant_by(ref, namespace)
