"""Events of core/v1 that say their time to the microsecond, as ours do."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_kit import Client

EVENTS = "/api/v1/namespaces/OWN/events"


def event(name: str = "e", **more: Any) -> dict[str, Any]:
    document = {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Rollout", "name": "shop", "namespace": "OWN"},
        "type": "Normal",
        "reason": "StepReached",
        "message": "10 % accepted",
        "eventTime": "2026-01-01T00:00:00.000001Z",
        "action": "Reconcile",
        "reportingComponent": "canary",
        "reportingInstance": "canary-0",
        **more,
    }
    return {key: value for key, value in document.items() if value is not None}


async def test_an_event_with_a_time_keeps_it(client: Client) -> None:
    """To the microsecond, beside the whole seconds of the older fields."""
    second = "2026-01-01T00:00:00Z"
    made = await client("POST", EVENTS, event(firstTimestamp=second, lastTimestamp=second, count=1))
    assert made.code == 201, made.body
    assert made.body["eventTime"] == "2026-01-01T00:00:00.000001Z"
    assert (made.body["lastTimestamp"], made.body["action"]) == (second, "Reconcile")
    for kind in ("Loud", None):
        untyped = await client("POST", EVENTS, event(f"type-{kind}".lower(), type=kind))
        assert untyped.code == 201, untyped.body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", None),
        ("action", "a" * 129),
        ("reason", None),
        ("reportingComponent", None),
        ("reportingComponent", "a b"),
        ("reportingInstance", None),
        ("reportingInstance", "a" * 129),
        ("message", "m" * 1025),
        ("message", "ü" * 513),
    ],
)
async def test_what_an_event_with_a_time_has_to_say(client: Client, field: str, value: str | None) -> None:
    """Who reports it, which action, and why, each within bounds; of an event without a time nothing of it is asked."""
    refused = await client("POST", EVENTS, event(**{field: value}))
    assert (refused.code, {cause["field"] for cause in refused.body["details"]["causes"]}) == (422, {field})
    plain = await client("POST", EVENTS, event("plain", **{field: value}, eventTime=None))
    assert plain.code == 201, plain.body
