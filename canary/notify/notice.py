"""What a message says, whoever gets it: fixed words for people, and the fields of a CloudEvent for programs. Pure.

Some of it was written by others: who started a run and why, what a provider answered. It is cleaned and cut before it is sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from canary.model.bounded import percent_text
from canary.model.notifications import EventKind
from canary.model.rollout import API_VERSION
from canary.model.status import RolloutStatus
from canary.model.times import format_time
from canary.notify.occasions import Occasion

Json = dict[str, Any]

LONGEST = 1000
"""Characters of one text of others."""

TYPE = "dev.canary.rollout"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

_SUMMONS = re.compile(r"@(?=[\w&!])|<(?=[!@#/]|[a-z][a-z0-9+.-]*:)|\](?=[(\[])", re.IGNORECASE)
"""What makes chats call somebody, or hide where a link leads: mentions, links as Slack has them, links and images of Markdown."""

_TITLES = {
    EventKind.RUN_STARTED: "run {run} started",
    EventKind.STEP_STARTED: "run {run} is at step {step}",
    EventKind.AWAITING_APPROVAL: "run {run} waits for an approval",
    EventKind.ROLLED_BACK: "run {run} is rolled back",
    EventKind.SUCCEEDED: "run {run} succeeded",
    EventKind.PAUSED: "run {run} is paused",
    EventKind.CONTESTED: "run {run} is contested",
    EventKind.INVALID: "it is invalid, and nothing can be released",
}
_NEXT = {
    EventKind.AWAITING_APPROVAL: "`canary promote {name} -n {namespace}` lets it go on, `canary abort {name} -n {namespace}` ends it",
    EventKind.PAUSED: "`canary resume {name} -n {namespace}` lets it go on, `canary abort {name} -n {namespace}` ends it",
    EventKind.CONTESTED: "find out who writes the route; then `canary resume {name} -n {namespace}` or `canary abort {name} -n {namespace}`",
}
_LOOK = "`canary explain {name} -n {namespace}` says why"
_FAILURES = frozenset({EventKind.ROLLED_BACK, EventKind.CONTESTED, EventKind.INVALID})
_WARNINGS = frozenset({EventKind.AWAITING_APPROVAL, EventKind.PAUSED})


def id_of(uid: str, occasion: Occasion) -> str:
    """The id of the message about something that happened to the Rollout of this uid."""
    return f"{uid}-{occasion.number}"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. `key` is how it goes on record as told (empty: a test), `id` is the event's, for ever and everywhere."""

    namespace: str
    name: str
    uid: str
    id: str
    key: str
    kind: str
    level: str
    title: str
    body: str
    at: datetime
    data: str
    """JSON."""

    @classmethod
    def of(cls, metadata: Json, status: RolloutStatus, occasion: Occasion) -> Self:
        """Of a Rollout's metadata and the status that says so."""
        namespace, name, uid = (str(metadata.get(field) or "") for field in ("namespace", "name", "uid"))
        run, step = status.run, status.step
        words = {"namespace": namespace, "name": name, "run": run.number if run is not None else 0}
        words["step"] = f"{step.index}/{step.total}" if step is not None else ""
        message = clean(occasion.message)
        lines = [f"{occasion.reason}: {message}" if message else occasion.reason]
        if run is not None and occasion.kind is not EventKind.INVALID:
            at = f", step {words['step']}" if step is not None and step.index else ""
            lines.append(
                f"revision {run.revision or 'unknown'}{at}; the canary has {percent_text(status.split.written)}"
            )
        lines.append(_NEXT.get(occasion.kind, _LOOK).format(**words))
        data: Json = {
            "namespace": namespace,
            "name": name,
            "uid": uid,
            "event": occasion.kind.value,
            "phase": status.phase.value if status.phase is not None else "",
            "reason": occasion.reason,
            "message": message,
            "weights": {
                "desired": status.split.desired,
                "written": status.split.written,
                "accepted": status.split.accepted,
            },
        }
        if run is not None:
            by, why = clean(run.trigger.by), clean(run.trigger.reason)
            data["run"] = {"number": run.number, "revision": run.revision, "trigger": {"by": by, "reason": why}}
        if step is not None and step.index:
            data["step"] = {"index": step.index, "total": step.total}
        level = "failure" if occasion.kind in _FAILURES else "warning" if occasion.kind in _WARNINGS else "info"
        level = "success" if occasion.kind is EventKind.SUCCEEDED else level
        return cls(
            namespace=namespace,
            name=name,
            uid=uid,
            id=id_of(uid, occasion),
            key=occasion.key,
            kind=occasion.kind.value,
            level=level,
            title=f"{namespace}/{name}: {_TITLES[occasion.kind].format(**words)}",
            body="\n".join(lines),
            at=occasion.at,
            data=json.dumps(data, ensure_ascii=False),
        )

    @classmethod
    def test(cls, target: str, namespace: str, uid: str, id_: str, at: datetime) -> Self:
        """A test of a target: of no Rollout."""
        said = f"this is a test of {target}, asked for by `canary notify test`; no Rollout is concerned"
        data = {"target": target, "event": "Test", "message": said}
        return cls(namespace, "", uid, id_, "", "Test", "info", "canary: a test", said, at, json.dumps(data))

    @property
    def event(self) -> bytes:
        """As a CloudEvent 1.0 in structured mode: JSON in UTF-8. The same bytes whenever it is sent."""
        place = f"/apis/{API_VERSION}/namespaces/{self.namespace}/rollouts/{self.name}" if self.name else "/canary"
        subject = f"{self.namespace}/{self.name}" if self.name else "test"
        document = {
            "specversion": "1.0",
            "id": self.id,
            "source": place,
            "type": f"{TYPE}.{self.kind}",
            "subject": subject,
            "time": format_time(self.at),
            "datacontenttype": "application/json",
            "data": json.loads(self.data),
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    @property
    def chat(self) -> tuple[str, str]:
        """Title and body where `@`, `<` and `](` may mean something: they call nobody, and hide no link."""
        return harmless(self.title), harmless(self.body)


def clean(text: str) -> str:
    """A text of others: on one line, printable, and no longer than LONGEST."""
    found = "".join(character if character.isprintable() else " " for character in text[: 2 * LONGEST])
    found = " ".join(found.split())
    return found if len(found) <= LONGEST else f"{found[: LONGEST - 1]}…"


def harmless(text: str) -> str:
    """The same text, in which a chat finds nobody to call, and no link but one that shows where it leads."""
    return _SUMMONS.sub(lambda found: f"{found[0]} ", text)
