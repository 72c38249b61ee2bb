"""The pod specs that a workload had before, as its controller keeps them: ReplicaSets of a Deployment, else ControllerRevisions.

They are looked for where the record of a copy is gone, by the workload's own labels, and only those count that it owns.
"""

from __future__ import annotations

from typing import Any

from canary.errors import Forbidden, NothingToRestore, NotServed
from canary.kube import HISTORIES, Kube
from canary.model.rollout import digest
from canary.observe.objects import uid_of

Json = dict[str, Any]


async def earlier(kube: Kube, kind: str, workload: Json, revision: str) -> Json:
    """The pod spec of a workload that has this revision.

    Raises:
        NothingToRestore: it is not there, or may not be looked for; the message says what to do.
        ApiError: nobody can tell now.

    """
    of, metadata = HISTORIES[kind], workload["metadata"]
    labels = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    by_hand = f"put it back by hand (kubectl rollout undo {kind.lower()}/{metadata['name']})"
    try:
        found = await kube.list(of, metadata["namespace"], label_selector=selector or None)
    except (Forbidden, NotServed) as error:
        why = f"its record is gone, and its {of.plural} cannot be listed ({error}): {by_hand}"
        raise NothingToRestore(f"of revision {revision} {why}") from error
    for item in found["items"]:
        pod_spec = _pod_spec(item)
        if _owned_by(item, uid_of(workload)) and pod_spec is not None and digest(pod_spec) == revision:
            return pod_spec
    raise NothingToRestore(f"of revision {revision} its record is gone, and none of its {of.plural} has it: {by_hand}")


def _owned_by(item: Json, uid: str) -> bool:
    owners = item.get("metadata", {}).get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def _pod_spec(item: Json) -> Json | None:
    """What a ReplicaSet has in its template; of a ControllerRevision its data is a patch that replaces the template."""
    holder: Any = item.get("data", item)
    for name in ("spec", "template", "spec"):
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder if isinstance(holder, dict) else None
