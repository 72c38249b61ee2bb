"""Reads our pair of backendRefs out of a route, without touching anything else in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from canary.errors import SpecError
from canary.model.rollout import BackendTarget, RolloutSpec
from canary.routes.identity import rule_digest, rule_key
from canary.routes.unpaired import backend_words, rule_words, why_unpaired

Json = dict[str, Any]

MAX_WEIGHT = 1_000_000
"""Largest weight that the Gateway API allows for a backendRef."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service and port, its namespace spelled out."""

    service: str
    namespace: str
    port: int

    @classmethod
    def of(cls, target: BackendTarget, namespace: str) -> Backend:
        return cls(target.service, target.namespace or namespace, target.port)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        place, _, port = text.rpartition(":")
        namespace, _, service = place.partition("/")
        if not namespace or not service or not (port.isascii() and port.isdecimal() and len(port) <= 5):
            raise ValueError(f"{text!r} is not namespace/service:port")
        return cls(service, namespace, int(port))


@dataclass(frozen=True, slots=True)
class Pair:
    """The two backends by the role that they have in a run."""

    stable: Backend
    canary: Backend

    @classmethod
    def of(cls, spec: RolloutSpec, namespace: str, *, swapped: bool = False) -> Pair:
        """The pair that a Rollout of a namespace declares, by its present role."""
        stable, canary = Backend.of(spec.stable, namespace), Backend.of(spec.canary, namespace)
        return cls(canary, stable) if swapped else cls(stable, canary)

    def __str__(self) -> str:
        return f"{self.stable} {self.canary}"

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        stable, canary = map(Backend.parse, text.split(" "))
        return cls(stable, canary)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of stable and canary in one rule, as written. None: the field is absent, which means 1."""

    stable: int | None
    canary: int | None

    @property
    def total(self) -> int:
        return _value(self.stable) + _value(self.canary)

    @property
    def share(self) -> Fraction:
        """The canary's share of the pair in percent; 0 when the pair gets nothing at all."""
        return Fraction(100 * _value(self.canary), self.total) if self.total else Fraction(0)

    @property
    def filled(self) -> Weights:
        """The same with nothing absent, as an API server keeps it."""
        return Weights(_value(self.stable), _value(self.canary))

    def __str__(self) -> str:
        return "/".join("-" if weight is None else str(weight) for weight in (self.stable, self.canary))

    @classmethod
    def parse(cls, text: str) -> Weights:
        """Read what `str()` wrote.

        Raises:
            ValueError: not two weights with a slash between them.

        """
        stable, canary = (None if part == "-" else _digits(part) for part in text.split("/"))
        if any(weight is not None and not 0 <= weight <= MAX_WEIGHT for weight in (stable, canary)):
            raise ValueError(f"{text!r} is outside of what a route may say, 0 to {MAX_WEIGHT}")
        return cls(stable, canary)

    @property
    def only_stable(self) -> Weights:
        """The same sum, all of it on stable; exactly what it was if the canary had nothing and stable something.

        A sum beyond what one weight may be is cut to that: a rollback that no API server takes would be none.
        """
        if _value(self.canary) == 0 and _value(self.stable) > 0:
            return self
        return Weights(max(min(self.total, MAX_WEIGHT), 1), 0)

    @property
    def only_canary(self) -> Weights:
        """The same sum, all of it on the canary; cut like `only_stable`."""
        if _value(self.stable) == 0 and _value(self.canary) > 0:
            return self
        return Weights(0, max(min(self.total, MAX_WEIGHT), 1))


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 7):
        raise ValueError(f"{text!r} is no weight")
    return int(text)


def _value(weight: int | None) -> int:
    return 1 if weight is None else weight


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

    @cached_property
    def digest(self) -> str:
        """What identifies the rule wherever it is, besides its name."""
        return rule_digest(self.document, self.namespace)


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
        yield _pair(index, rule, namespace, *places.values())


def every_pair(route: Json, both: Pair) -> tuple[RulePair, ...]:
    """Find a pair in every rule that lists it (once). Never raises.

    What a run has written is found so, whatever its Rollout declares by now.
    """
    namespace = route.get("metadata", {}).get("namespace", "")
    found = []
    for index, rule in enumerate(route.get("spec", {}).get("rules") or []):
        places = _places(rule, both, namespace)
        if all(len(listed) == 1 for listed in places.values()):
            found.append(_pair(index, rule, namespace, *places.values()))
    return tuple(found)


def _places(rule: Json, both: Pair, namespace: str) -> dict[Backend, list[int]]:
    """Where a rule lists stable, and where the canary."""
    refs = rule.get("backendRefs") or []
    return {
        backend: [index for index, ref in enumerate(refs) if _is(ref, backend, namespace)]
        for backend in (both.stable, both.canary)
    }


def _pair(index: int, rule: Json, namespace: str, stable: list[int], canary: list[int]) -> RulePair:
    refs, (s,), (c,) = rule["backendRefs"], stable, canary
    return RulePair(
        key=rule_key(index, rule),
        rule=index,
        name=rule.get("name"),
        stable=s,
        canary=c,
        weights=Weights(refs[s].get("weight"), refs[c].get("weight")),
        others=sum(_value(ref.get("weight")) for i, ref in enumerate(refs) if i not in {s, c}),
        document=rule,
        namespace=namespace,
    )


def _is(ref: Json, backend: Backend, namespace: str) -> bool:
    return (
        ref.get("name") == backend.service
        and ref.get("port") == backend.port
        and (ref.get("namespace") or namespace) == backend.namespace
        and (ref.get("kind") or "Service") == "Service"
        and not ref.get("group")
    )
