"""Which rule of a route a run has written: by what it matches, filters and lists, else by its name; never by its place alone.

A run keeps a record by rule key, a rule's name or `#index`. People insert, remove and reorder rules in the middle of a run, and
then `#0` is another rule, and a name that of another one. So the record says for each key what the rule was like
(docs/decisions/0020, 0077).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from canary.model.rollout import digest
from canary.routes.pair import Weights

Json = dict[str, Any]


class Listed(Protocol):
    """A rule of a route as it is now."""

    @property
    def key(self) -> str:
        """Its name, or `#index`."""

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""

    @property
    def digest(self) -> str:
        """What identifies it besides its name."""

    @property
    def weights(self) -> Weights:
        """What it gives the pair."""

    @property
    def serves(self) -> bool:
        """Whether it gives the canary anything: a share of its requests, or copies of them."""

    @property
    def lacking(self) -> bool:
        """Whether it lists stable no more, on whatever port."""


R = TypeVar("R", bound=Listed)
V = TypeVar("V")


def rule_key(index: int, rule: Json) -> str:
    """What a rule is called in records and to people: its name, or `#index`."""
    return rule.get("name") or f"#{index}"


def rule_digest(rule: Json, namespace: str) -> str:
    """Ten hex digits over what makes a rule this one: matches, filters and backends.

    Not its name, which may go to another rule; nor what changes while it is the same rule, as weights and timeouts.
    """
    backends = [
        (
            ref.get("group") or "",
            ref.get("kind") or "Service",
            ref.get("namespace") or namespace,
            ref.get("name"),
            ref.get("port"),
        )
        for ref in rule.get("backendRefs") or ()
    ]
    return digest([rule.get("matches") or [], rule.get("filters") or [], backends])


def resolve(recorded: Mapping[str, str], rules: Sequence[R], damaged: Sequence[R] = ()) -> dict[str, R]:
    """Find the rules of a record among those that are there now.

    Args:
        recorded: what identified each rule when it was written, by its key then; empty where an earlier version wrote it.
        rules: the rules in question, in their order.
        damaged: rules that may have been such, and are only found by their names, or by what they seem to have been.

    Returns:
        The rule of each key that can be told. One that is gone, or that could be any of several, is not in it. Where one rule
        has the name of a key and another one what was recorded of it, it is the latter, but where the former alone still gives
        the canary what it was given: `candidates` are both.

    """
    there = {rule.key: rule for rule in (*damaged, *rules)}
    if all(key in there and mark in {"", there[key].digest} for key, mark in recorded.items()):
        return {key: there[key] for key in recorded}
    found = {key: rule for key, mark in recorded.items() if (rule := _named(there, key)) and mark in {"", rule.digest}}
    for key, others in _claims(recorded, rules, damaged).items():
        free = [rule for rule in others if rule.key not in {taken.key for taken in found.values()}]
        alone = there[key].digest not in recorded.values() and not any(rule.serves for rule in free)
        if free:
            found[key] = there[key] if alone and there[key].serves else free[0]
    listing = (*rules, *(rule for rule in damaged if not rule.lacking))
    steps = (
        (_by_name, (*damaged, *rules)),
        (_by_content, rules),
        (_by_content, damaged),
        (_by_place, rules),
        (_edited_in_place, listing),
        (_that_serve, listing),
    )
    for step, among in steps:
        taken = {rule.key for rule in found.values()}
        lost = {key: mark for key, mark in recorded.items() if key not in found}
        found.update(step(lost, [rule for rule in among if rule.key not in taken]))
    return found


def candidates(recorded: Mapping[str, str], rules: Sequence[R], damaged: Sequence[R] = ()) -> tuple[R, ...]:
    """Every rule that may be one of a record, in their order: where several may be the same one, all of them. What is given is as for `resolve`."""
    found = {rule.key: rule for rule in resolve(recorded, rules, damaged).values()}
    there = {rule.key: rule for rule in (*damaged, *rules)}
    for key, others in _claims(recorded, rules, damaged).items():
        found |= {rule.key: rule for rule in (there[key], *others)}
    return tuple(rule for rule in there.values() if rule.key in found)


def _claims(recorded: Mapping[str, str], rules: Sequence[R], damaged: Sequence[R]) -> dict[str, list[R]]:
    """By each key whose name another rule seems to have: the rules with what was recorded of it."""
    there = {rule.key: rule for rule in (*damaged, *rules)}
    sure = {key for key, mark in recorded.items() if (rule := _named(there, key)) and rule.digest == mark}
    claims = {}
    for key, mark in recorded.items():
        rule = _named(there, key)
        if rule is None or mark in {"", rule.digest}:
            continue
        alike = [other for other in there.values() if other.digest == mark and other.key not in sure]
        if alike:
            claims[key] = alike
    return claims


def _named(there: Mapping[str, R], key: str) -> R | None:
    """The rule that goes by this very name."""
    rule = there.get(key)
    return rule if rule is not None and rule.name is not None else None


def _by_name(lost: Mapping[str, str], free: Sequence[R]) -> Iterator[tuple[str, R]]:
    """Edited, and still called the same; unless by its content it is another one that is looked for."""
    for rule in free:
        others = {mark for key, mark in lost.items() if key != rule.key}
        if rule.name is not None and rule.key in lost and rule.digest not in others:
            yield rule.key, rule


def _by_content(lost: Mapping[str, str], free: Sequence[R]) -> Iterator[tuple[str, R]]:
    """Those that are alike keep their order, as long as none is missing and none has come."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for key in sorted(lost, key=_place):
        if lost[key]:
            alike[lost[key]].append(key)
    for mark, keys in alike.items():
        same = [rule for rule in free if rule.digest == mark]
        if len(same) == len(keys):
            yield from zip(keys, same, strict=True)


def _by_place(lost: Mapping[str, str], free: Sequence[R]) -> Iterator[tuple[str, R]]:
    """The place decides only where nothing speaks against it."""
    for rule in free:
        if rule.key in lost and lost[rule.key] in {"", rule.digest}:
            yield rule.key, rule


def _edited_in_place(lost: Mapping[str, str], free: Sequence[R]) -> Iterator[tuple[str, R]]:
    """Somebody edited rules of ours, and left all of them where they are: no other rule can be meant."""
    unnamed = [rule for rule in free if rule.name is None]
    if all(rule.key in lost for rule in unnamed):
        yield from ((rule.key, rule) for rule in unnamed)


def _that_serve(lost: Mapping[str, str], free: Sequence[R]) -> Iterator[tuple[str, R]]:
    """Somebody edited rules of ours, and as many give the canary anything as are looked for: who adds a rule gives it nothing there."""
    keys = sorted((key for key in lost if key.startswith("#")), key=_place)
    serving = sorted((rule for rule in free if rule.name is None and rule.serves), key=lambda rule: _place(rule.key))
    if len(keys) == len(serving):
        yield from zip(keys, serving, strict=True)


def _place(key: str) -> tuple[int, str]:
    index = key.removeprefix("#")
    return (int(index) if key != index and index.isascii() and index.isdecimal() else 0, key)


def moved(recorded: Mapping[str, str], rules: Sequence[Listed], damaged: Sequence[Listed] = ()) -> dict[str, str]:
    """The present key of each rule of a record whose key has changed; what is given as for `resolve`.

    A rule that is gone, and whose place another one has now, goes by `#digest`: if it comes back, it is found by that.
    """
    now = {key: rule.key for key, rule in resolve(recorded, rules, damaged).items()}
    there = {rule.key for rule in (*rules, *damaged)}
    gone = {key: f"#{mark}" for key, mark in recorded.items() if key not in now and key in there}
    return {key: other for key, other in (now | gone).items() if key != other}


def since_known(recorded: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The keys of a record by a later one (`known`), where they have changed: what each says identified the rules, by their keys then.

    For rules of which nothing can be found by now. One whose place another rule has had since goes by `#digest`.
    """
    if recorded == known:
        return {}
    once = {mark for mark in recorded.values() if mark and sum(other == mark for other in recorded.values()) == 1}
    there = {mark: key for key, mark in known.items() if mark in once}
    found = {key: there[mark] for key, mark in recorded.items() if mark in there}
    taken = set(found.values())
    gone = {key: f"#{mark}" for key, mark in recorded.items() if key not in found and key in taken}
    return {key: other for key, other in (found | gone).items() if key != other}


def rekeyed(values: Mapping[str, V], keys: Mapping[str, str]) -> dict[str, V]:
    """The same by present keys. `keys`: those that have changed."""
    return {keys.get(key, key): value for key, value in values.items()}


def marks(rules: Collection[Listed], keys: Collection[str]) -> dict[str, str]:
    """What identifies the rules with these keys, for a record."""
    return {rule.key: rule.digest for rule in rules if rule.key in keys and rule.digest}
