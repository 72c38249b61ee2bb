"""Copies a pod spec to the stable workload, puts it back, and leaves no trace: each against the workload as it is now."""

from __future__ import annotations

from functools import partial
from typing import Any

from canary.act.gate import Gate
from canary.act.history import earlier
from canary.act.reading import moved, still_so
from canary.decide.actions import CopyPodSpec, ForgetPodSpec, RestorePodSpec
from canary.decide.copying import copy_annotation
from canary.errors import Conflict, Refused, Unprocessable, WriteAltered
from canary.json_patch import Operation, annotate, annotation, pointer, remove, replace, unmoved
from canary.kube import WORKLOADS, Kube, Resource
from canary.model.rollout import digest
from canary.observe.copies import LEGACY_ANNOTATION, CopyRecord, read_copy
from canary.observe.objects import Key
from canary.observe.store import Store
from canary.observe.workloads import revision
from canary.routes.ownership import given_back

Json = dict[str, Any]

_SPEC = pointer("spec", "template", "spec")


class WorkloadWriter:
    """Writes the workloads of one Rollout: of the kinds that can be written (`canary.model.workloads`)."""

    def __init__(self, key: Key, kube: Kube, store: Store) -> None:
        self._key = key
        self._kube = kube
        self._store = store

    async def copy(self, action: CopyPodSpec, rollout: Json, gate: Gate) -> bool:
        """Copy a pod spec, with a record of it; False when the world is another one than the decision saw.

        The record says which revision the workload will have. That is asked of the API server beforehand (a dry run), since
        admission may change what is copied: what it makes of it counts as copied.
        """
        of, to = WORKLOADS[action.source_kind], WORKLOADS[action.target_kind]
        source, target = await self._get(of, action.source), await self._get(to, action.target)
        if revision(source) != action.revision or revision(target) != action.replaces:
            self._keep(of, source)
            self._keep(to, target)
            return False
        if not await still_so(self._kube, self._store, self._key, rollout):
            return False
        pod_spec, before = source["spec"]["template"]["spec"], target["spec"]["template"]["spec"]
        record = CopyRecord(action.uid, action.run, action.revision, before)
        guard, change = unmoved(target), replace(_SPEC, pod_spec)
        try:
            kept = await self._foreseen(action, [guard, annotate(target, self._name, record.dump()), change], record)
            record = CopyRecord(record.uid, record.run, kept, before)
            gate(True)
            answer = await self._patch(to, action.target, [guard, annotate(target, self._name, record.dump()), change])
            if words := self._unlike(answer, record):
                await self._take_back(to, answer, before)
                raise WriteAltered(words)
            if revision(answer) != kept:  # admission that decides anew each time
                record = CopyRecord(record.uid, record.run, revision(answer), before)
                answer = await self._patch(
                    to, action.target, [unmoved(answer), annotate(answer, self._name, record.dump())]
                )
        except (Conflict, Unprocessable) as error:
            return await moved(error, target, partial(self._get, to, action.target), partial(self._keep, to))
        self._keep(to, answer)
        return True

    async def _foreseen(self, action: CopyPodSpec, ops: list[Operation], record: CopyRecord) -> str:
        """The revision that the workload would have. Raises WriteAltered where the record would not be kept."""
        try:
            answer = await self._patch(WORKLOADS[action.target_kind], action.target, ops, dry_run=True)
        except Refused:  # a webhook that takes no dry run: the answer will tell
            return action.revision
        if words := self._unlike(answer, record):
            raise WriteAltered(words)
        return revision(answer)

    def _unlike(self, answer: Json, record: CopyRecord) -> str:
        """What is missing in an answer of what was sent, in words: a copy without its record could not be put back. Empty: nothing is."""
        named = answer.get("metadata", {}).get("name", "")
        if read_copy(answer, self._key[1]) != record:
            return (
                f"the API server does not keep the annotation {self._name} on {named} as it is sent (admission), which has what is "
                "replaced: nothing is copied without it"
            )
        if revision(answer) == digest(record.pod_spec):
            return f"the API server keeps the pod spec of {named} as it was (admission)"
        return ""

    async def _take_back(self, to: Resource, answer: Json, before: Json) -> None:
        """Undo a copy that is not kept as it was sent."""
        there = (answer["metadata"].get("annotations") or {}).keys() & {self._name}
        ops = [unmoved(answer), replace(_SPEC, before), *(remove(annotation(key)) for key in there)]
        self._keep(to, await self._patch(to, answer["metadata"]["name"], ops))

    async def restore(self, action: RestorePodSpec) -> bool:
        """Put back what a copy replaced, if the copy is what still runs. The record stays until it is forgotten.

        Raises:
            NothingToRestore: neither the record nor the history of the workload has it.

        """
        to, name = WORKLOADS[action.kind], action.target
        target = await self._get(to, name)
        if revision(target) != action.copied:
            self._keep(to, target)
            return False
        record = read_copy(target, self._key[1])
        if record is not None and digest(record.pod_spec) == action.replaced:
            pod_spec = record.pod_spec
        else:
            pod_spec = await earlier(self._kube, action.kind, target, action.replaced)
        try:
            answer = await self._patch(to, name, [unmoved(target), replace(_SPEC, pod_spec)])
        except (Conflict, Unprocessable) as error:
            return await moved(error, target, partial(self._get, to, name), partial(self._keep, to))
        self._keep(to, answer)
        if revision(answer) == action.copied:
            raise WriteAltered(f"the API server keeps the pod spec of {name} as it was copied there (admission)")
        return True

    async def forget(self, action: ForgetPodSpec) -> bool:
        """Drop the record, and give the fields that a copy wrote back to their owners; False where there is none."""
        to, name = WORKLOADS[action.kind], action.target
        target = await self._get(to, name)
        annotations = target.get("metadata", {}).get("annotations") or {}
        left = [key for key in (self._name, LEGACY_ANNOTATION) if key in annotations]
        if not left:
            self._keep(to, target)
            return False
        ops = [unmoved(target), *(remove(annotation(key)) for key in left), *given_back(target)]
        return await self._send(to, name, target, ops)

    @property
    def _name(self) -> str:
        return copy_annotation(self._key[1])

    async def _send(self, to: Resource, name: str, target: Json, ops: list[Operation]) -> bool:
        try:
            self._keep(to, await self._patch(to, name, ops))
        except (Conflict, Unprocessable) as error:
            return await moved(error, target, partial(self._get, to, name), partial(self._keep, to))
        return True

    async def _patch(self, to: Resource, name: str, ops: list[Operation], *, dry_run: bool = False) -> Json:
        return await self._kube.json_patch(to, name, self._key[0], ops, dry_run=dry_run)

    async def _get(self, of: Resource, name: str) -> Json:
        return await self._kube.get(of, name, self._key[0])

    def _keep(self, of: Resource, document: Json) -> None:
        self._store.put_workload(document, of.kind, answer=True)
