"""Reads our pair of backendRefs out of a route, without touching anything else in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from canary.errors import SpecError
from canary.routes.filters import copied, filters_of, only_reads, unmirrored
from canary.routes.identity import rule_digest, rule_key
from canary.routes.pair import Backend, Pair, Recipient, Weights, weight_of
from canary.routes.unpaired import backend_words, rule_words, why_unpaired

Json = dict[str, Any]


@dataclass(frozen=True)
class RulePair:
    """Where in a rule our pair is, and what its weights are.

    `key` names the rule: its name, or `#index`. `others` is the sum of the weights of all other backendRefs.
    """

    key: str
    rule: int
    name: str | None
    stable: int
    canary: int
    weights: Weights
    others: int
    document: Json = field(compare=False, repr=False)
    namespace: str = field(compare=False, repr=False)
    copied_to: Recipient = field(compare=False, repr=False)
    """Who gets the copies of a run that mirrors the rule."""
    surplus: tuple[int, ...] = ()
    """Further backendRefs of the pair, where the rule lists one of the two more than once: `weights` are sums then."""
    lacking: bool = False
    """It does not list stable, which belongs at the index `stable`. Of `weights` all other backends are stable's part then."""
    elsewhere: bool = False
    """It lists stable's Service on another port: that is stable, as long as nothing else of it is listed."""
    instead: Backend | None = None
    """Where it is lacking: the Service that has stable's place now, as far as can be told."""
    intact: Json | None = field(default=None, compare=False, repr=False)
    """What a damaged rule was like before, as far as can be told."""

    @property
    def damaged(self) -> bool:
        """Whether it lists the pair in another way than once each."""
        return self.intact is not None

    @cached_property
    def serves(self) -> bool:
        """Whether it gives the canary anything: a share of its requests, or copies of them."""
        return self.weights.share > 0 or copied(self.document, self.copied_to, self.namespace) > 0

    @property
    def replaced(self) -> bool:
        """Whether others have the traffic that was stable's."""
        return self.lacking and weight_of(self.weights.stable) > 0

    @property
    def sticky(self) -> bool:
        """Whether it keeps sessions where they are, whatever its weights say."""
        return bool(self.document.get("sessionPersistence"))

    @cached_property
    def digest(self) -> str:
        """What identifies the rule wherever it is, besides its name: whether a run sends copies from it does not."""
        document = self.document if self.intact is None else self.intact
        return rule_digest(unmirrored(document, self.copied_to, self.namespace), self.namespace)

    @property
    def reads(self) -> bool:
        """Whether it takes requests of safe methods only."""
        return only_reads(self.document)

    @property
    def filters(self) -> int | None:
        """How many filters it has; None where it has no list of them."""
        return len(filters_of(self.document)) if "filters" in self.document else None


def read_pairs(route: Json, both: Pair, rules: Iterable[str] = ()) -> tuple[RulePair, ...]:
    """Find the pair in the rules of a route: in the named ones, or in every rule that lists both.

    Raises:
        SpecError: no such rule, a rule without the pair, the pair listed twice in one rule, or nowhere.

    """
    name = route.get("metadata", {}).get("name", "")
    namespace = route.get("metadata", {}).get("namespace", "")
    wanted = tuple(rules)
    listed = route.get("spec", {}).get("rules") or []
    known = {rule.get("name") for rule in listed}
    for rule_name in wanted:
        if rule_name not in known:
            raise SpecError(
                "spec.routes",
                f"route {name} has no rule named {rule_name!r}; give the rule that name, or drop it from `rules`",
            )
    pairs = tuple(_pairs(listed, both, namespace, wanted, name))
    missing = set(wanted) - {pair.name for pair in pairs}
    if missing or not pairs:
        raise SpecError("spec.routes", why_unpaired(route, both, {min(missing)} if missing else ()))
    return pairs


def _pairs(listed: list[Json], both: Pair, namespace: str, wanted: tuple[str, ...], route: str) -> Iterator[RulePair]:
    for index, rule in enumerate(listed):
        if wanted and rule.get("name") not in wanted:
            continue
        places = _places(rule, both, namespace)
        if not all(places.values()):
            continue
        for backend, found in places.items():
            if len(found) > 1:
                raise SpecError(
                    "spec.routes",
                    f"{rule_words(listed, index)} of route {route} lists {backend_words(backend, namespace)} "
                    f"{len(found)} times; list it once",
                )
        yield _pair(index, rule, namespace, both.copied_to, *places.values())


def every_pair(route: Json, both: Pair) -> tuple[RulePair, ...]:
    """Find a pair in every rule that lists it (once). Never raises.

    What a run has written is found so, whatever its Rollout declares by now.
    """
    namespace = route.get("metadata", {}).get("namespace", "")
    found = []
    for index, rule in enumerate(route.get("spec", {}).get("rules") or []):
        places = _places(rule, both, namespace)
        if all(len(listed) == 1 for listed in places.values()):
            found.append(_pair(index, rule, namespace, both.copied_to, *places.values()))
    return tuple(found)


def _places(rule: Json, both: Pair, namespace: str) -> dict[Backend, list[int]]:
    """Where a rule lists stable, and where the canary."""
    refs = rule.get("backendRefs") or []
    return {
        backend: [index for index, ref in enumerate(refs) if backend.is_named_by(ref, namespace)]
        for backend in (both.stable, both.canary)
    }


def _pair(
    index: int, rule: Json, namespace: str, copied_to: Recipient, stable: list[int], canary: list[int]
) -> RulePair:
    refs, (s,), (c,) = rule["backendRefs"], stable, canary
    return RulePair(
        key=rule_key(index, rule),
        rule=index,
        name=rule.get("name"),
        stable=s,
        canary=c,
        weights=Weights(refs[s].get("weight"), refs[c].get("weight")),
        others=sum(weight_of(ref.get("weight")) for i, ref in enumerate(refs) if i not in {s, c}),
        document=rule,
        namespace=namespace,
        copied_to=copied_to,
    )
