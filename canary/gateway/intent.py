"""The annotation `canary.dev/run` on a route: whose run wrote these weights, at which step, and what was there before.

It is set by the very patch that sets the weights. So whatever else was lost, the route itself says what its weights
mean: a restart reads it, and promise 3 (a failed run never sends traffic again) rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from canary.gateway.pair import Pair, Weights

RUN_ANNOTATION = "canary.dev/run"


class Mode(StrEnum):
    """What the weights of a route are for."""

    STEP = "step"
    ROLLBACK = "rollback"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Intent:
    """What a run wrote to a route. `weights` and `original` are by rule key."""

    rollout: str
    uid: str
    run: int
    mode: Mode
    step: int
    weights: Mapping[str, Weights] = field(default_factory=dict)
    original: Mapping[str, Weights] = field(default_factory=dict)
    pair: Pair | None = None
    """The backends that the weights are of: what the Rollout declares may be another pair by now."""
    reason: str = ""
    """Why the run ends, as a constant and in words: for a restart that finds no other record of it."""
    message: str = ""

    def dump(self) -> str:
        """Write the annotation's value: compact JSON."""
        document = {
            "rollout": self.rollout,
            "uid": self.uid,
            "run": self.run,
            "mode": self.mode.value,
            "step": self.step,
            "weights": {key: str(weights) for key, weights in self.weights.items()},
            "original": {key: str(weights) for key, weights in self.original.items()},
        }
        if self.pair is not None:
            document["pair"] = str(self.pair)
        if self.reason:
            document |= {"reason": self.reason, "message": self.message}
        return json.dumps(document, separators=(",", ":"))


def parse_intent(raw: str | None) -> Intent | None:
    """Read the annotation. None without one, or when it is not ours to understand."""
    if not raw:
        return None
    try:
        document = json.loads(raw)
        return Intent(
            rollout=str(document["rollout"]),
            uid=str(document["uid"]),
            run=int(document["run"]),
            mode=Mode(document["mode"]),
            step=int(document["step"]),
            weights={key: Weights.parse(text) for key, text in document["weights"].items()},
            original={key: Weights.parse(text) for key, text in document["original"].items()},
            pair=Pair.parse(document["pair"]) if "pair" in document else None,
            reason=str(document.get("reason", ""))[:64],
            message=str(document.get("message", ""))[:512],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
