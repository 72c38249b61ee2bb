"""The annotation `run.canary.dev/NAME` on a route: which run of Rollout NAME wrote these weights, at which step, and what was there before.

It is set by the very patch that sets the weights, mirrors requests or adds a rule. So whatever else was lost, the route itself says what its weights
mean: a restart reads it, and promise 3 (a failed run never sends traffic again) rests on it. Each Rollout has one of its
own, so two of them on two rules of a route never touch each other's (docs/decisions/0013).

Anybody who may write the route may write it too, so it is parsed at the door into bounded types: what is not plainly
ours is as absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from canary.model.bounded import MAX_RUNS
from canary.model.rollout import digest
from canary.routes.added import LONGEST_ADDED, MOST_ADDED, Added
from canary.routes.filters import Copied
from canary.routes.identity import rekeyed
from canary.routes.pair import Pair, Weights

Json = dict[str, Any]

PREFIX = "run.canary.dev/"
LEGACY_ANNOTATION = "canary.dev/run"
"""What one Rollout of a route used before each had an annotation of its own. Read, and replaced by the next write."""

LONGEST = 32 * 1024
LONGEST_NAME = 63
LARGEST_RUN = MAX_RUNS
LARGEST_STEP = 64
MOST_RULES = 64
LONGEST_MARK = 16


def name_part(rollout: str) -> str:
    """A Rollout's name as the name part of an annotation: that may have 63 characters, longer ones end in a digest."""
    if len(rollout) <= LONGEST_NAME:
        return rollout
    return f"{rollout[: LONGEST_NAME - 11].rstrip('-.')}-{digest(rollout)}"


def run_annotation(rollout: str) -> str:
    """The annotation of a Rollout on its routes."""
    return PREFIX + name_part(rollout)


class Mode(StrEnum):
    """What the weights of a route are for."""

    STEP = "step"
    ROLLBACK = "rollback"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Intent:
    """What a run wrote to a route. `weights` and `baseline` are by rule key."""

    rollout: str
    uid: str
    run: int
    mode: Mode
    step: int
    weights: Mapping[str, Weights] = field(default_factory=dict)
    baseline: Mapping[str, Weights] = field(default_factory=dict)
    pair: Pair | None = None
    """The backends that the weights are of: what the Rollout declares may be another pair by now."""
    reason: str = ""
    """Why the run ends, or why a hand holds it before its first step, as a constant and in words: for a restart that finds no other record of it."""
    message: str = ""
    turn: str = ""
    """Which controller wrote it: the patch of one whose turn is over tests another annotation, and is refused."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """What identifies the rules, by key (see `identity`); not there in what an earlier version wrote."""
    mirrors: Mapping[str, Copied] = field(default_factory=dict)
    """The copies that rules send to the canary, by key. One that the run has mirrored stays on record, with a share of 0."""
    added: Mapping[str, Added] = field(default_factory=dict)
    """The rules that the run has added to the route, by their marks. One that it has taken away again stays on record."""
    request: str = ""
    """The id of the request that was done last before it was written: a restart does not do it once more."""

    @property
    def recorded(self) -> dict[str, str]:
        """What identified each rule that the run has written, by its key then; empty where that is not on record."""
        return {key: self.rules.get(key, "") for key in self.baseline}

    def moved(self, keys: Mapping[str, str]) -> Intent:
        """The same by the present keys of the rules (`keys`: those that have changed)."""
        if not keys:
            return self
        weights, baseline = rekeyed(self.weights, keys), rekeyed(self.baseline, keys)
        rules, mirrors = rekeyed(self.rules, keys), rekeyed(self.mirrors, keys)
        return replace(self, weights=weights, baseline=baseline, rules=rules, mirrors=mirrors)

    def dump(self) -> str:
        """Write the annotation's value: compact JSON."""
        document = {
            "rollout": self.rollout,
            "uid": self.uid,
            "run": self.run,
            "mode": self.mode.value,
            "step": self.step,
            "weights": {key: str(weights) for key, weights in self.weights.items()},
            "baseline": {key: str(weights) for key, weights in self.baseline.items()},
        }
        if self.rules:
            document["rules"] = dict(self.rules)
        if self.mirrors:
            document["mirrors"] = {key: str(said) for key, said in self.mirrors.items()}
        if self.added:
            document["added"] = {mark: str(said) for mark, said in self.added.items()}
        if self.pair is not None:
            document["pair"] = str(self.pair)
        if self.reason:
            document |= {"reason": self.reason, "message": self.message}
        if self.turn:
            document["turn"] = self.turn
        if self.request:
            document["request"] = self.request
        return json.dumps(document, separators=(",", ":"))


def parse_intent(raw: object) -> Intent | None:
    """Read the annotation. None without one, and for whatever this package would not have written.

    `original` is what an earlier version called the baseline.
    """
    if not isinstance(raw, str) or not raw or len(raw) > LONGEST:
        return None
    try:
        document = json.loads(raw, parse_constant=_refuse, parse_float=_refuse)
        return Intent(
            rollout=_text(document["rollout"], 253),
            uid=_text(document["uid"], 128),
            run=_number(document["run"], 1, LARGEST_RUN),
            mode=Mode(document["mode"]),
            step=_number(document["step"], 0, LARGEST_STEP),
            weights=_weights(document["weights"]),
            baseline=_weights(document["original"] if "original" in document else document["baseline"]),
            pair=Pair.parse(_text(document["pair"], 1024)) if "pair" in document else None,
            reason=_text(document.get("reason", ""), 64),
            message=_text(document.get("message", ""), 512),
            turn=_text(document.get("turn", ""), 64),
            rules=_marks(document.get("rules", {})),
            mirrors=_mirrors(document.get("mirrors", {})),
            added=_added(document.get("added", {})),
            request=_text(document.get("request", ""), 128),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def recorded_intent(document: Json, rollout: str) -> tuple[Intent | None, bool]:
    """What the annotations say of a Rollout's run, and whether its own says something that makes no sense."""
    annotations = document.get("metadata", {}).get("annotations") or {}
    raw = annotations.get(run_annotation(rollout))
    own, legacy = parse_intent(raw), parse_intent(annotations.get(LEGACY_ANNOTATION))
    mine = [intent for intent in (own, legacy) if intent is not None and intent.rollout == rollout]
    # Both are there only where a version that knows one of them ran after one that knows the other: the later run counts,
    # and of one run its end.
    newest = max(mine, key=lambda intent: (intent.run, intent.mode is not Mode.STEP, intent.step), default=None)
    return newest, raw is not None and (own is None or own.rollout != rollout)


def recorded_intents(document: Json) -> list[Intent]:
    """What the annotations say of runs, whoever's: one that names another Rollout than it is of says nothing."""
    annotations = document.get("metadata", {}).get("annotations") or {}
    found = ((name, parse_intent(raw)) for name, raw in annotations.items() if names_run(name))
    return [intent for name, intent in found if intent and name in {run_annotation(intent.rollout), LEGACY_ANNOTATION}]


def names_run(annotation: str) -> bool:
    """Whether an annotation may say something of a run."""
    return annotation.startswith(PREFIX) or annotation == LEGACY_ANNOTATION


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no whole number")


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r} is not from {least} to {most}")
    return value


def _text(value: object, longest: int) -> str:
    """A text that fits into a status: JSON can spell halves of characters, which nothing can encode."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value[:longest].encode("utf-8", "replace").decode()


def _marks(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_RULES:
        raise ValueError("no digests by rule")
    return {_text(key, 253): _text(mark, LONGEST_MARK) for key, mark in value.items()}


def _mirrors(value: object) -> dict[str, Copied]:
    if not isinstance(value, dict) or len(value) > MOST_RULES:
        raise ValueError("no copies by rule")
    return {_text(key, 253): Copied.parse(_text(text, 32)) for key, text in value.items()}


def _added(value: object) -> dict[str, Added]:
    if not isinstance(value, dict) or len(value) > MOST_ADDED:
        raise ValueError("no rules that were added")
    return {_text(mark, LONGEST_MARK): Added.parse(_text(text, LONGEST_ADDED)) for mark, text in value.items()}


def _weights(value: object) -> dict[str, Weights]:
    if not isinstance(value, dict) or len(value) > MOST_RULES:
        raise ValueError("no weights by rule")
    found = {_text(key, 253): Weights.parse(_text(text, 32)) for key, text in value.items()}
    if any(weights.total == 0 for weights in found.values()):
        raise ValueError("a pair that gets nothing is none that a run could have begun with, or written")
    return found
