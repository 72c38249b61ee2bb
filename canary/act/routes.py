"""Writes one route: guarded by what the decision saw, strict, fenced against another controller, and its answer compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from canary.act.gate import Gate
from canary.act.reading import moved, still_so
from canary.decide.actions import WriteRoute
from canary.errors import ApiError, BackendMissing, Conflict, NotFound, Unprocessable, WriteAltered, refusal
from canary.json_patch import Operation
from canary.kube import SERVICES, Kube, Resource
from canary.kube.endpoints import ready_endpoints
from canary.observe.objects import Key, slim, version
from canary.observe.store import Store
from canary.routes.edit import edit, taken_back
from canary.routes.intent import PREFIX, Mode, parse_intent, run_annotation
from canary.routes.key import RouteKey
from canary.routes.ownership import given_back
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading

Json = dict[str, Any]

PATIENCE = 3.0
"""Seconds without an answer after which the patch of a route is sent once more, on a new connection: the one it was sent on
may be dead. Much longer than a server takes that is well, admission by webhooks included; and one that takes longer is still
waited for. Twice does no harm: the patch tests what it was decided upon, so only one of the two can take effect."""

RELEASES = 3
"""How often the second patch of a release is tried when somebody else writes the route at the same time, as gateways do."""


class RouteWriter:
    """Writes the routes of one Rollout. `on_rollback(seconds)` times a failing sample until its patch is sent.

    `confirms(route, document, rollout)` says whether what a decision saw has just been proved by another write.
    """

    def __init__(
        self,
        key: Key,
        kube: Kube,
        store: Store,
        on_rollback: Callable[[float], None],
        confirms: Callable[[RouteKey, Json, Json], bool] = lambda *_: False,
    ) -> None:
        self._key = key
        self._kube = kube
        self._store = store
        self._on_rollback = on_rollback
        self._confirms = confirms

    async def write(
        self, action: WriteRoute, seen: RouteReading, rollout: Json, gate: Gate, failing_since: float | None
    ) -> bool | None:
        """Perform one write; False when somebody else was there and it was read again instead, None when it is so already.

        Args:
            action: what to write.
            seen: the route as the decision saw it.
            rollout: the Rollout as the decision saw it.
            gate: whether this process may still write what it decided then.
            failing_since: when (time.monotonic) the measurement came in that this may rest on.

        Raises:
            ApiError: the API server refused it, or did not answer.
            BackendMissing: requests would be copied to a Service or port that is not there.
            WriteAltered: it took it and keeps something else.
            StaleDecision: the decision is too old.

        """
        (_, name), document = self._key, seen.document
        ops = edit(seen, action.plan, action.intent, rollout=name)
        if not ops:
            return None
        rising = action.plan.raises(seen)
        if (
            rising
            and not _our_turn(document, action, name)
            and not (_versioned(ops) and self._confirms(action.key, document, rollout))
            and not await still_so(self._kube, self._store, self._key, rollout)
        ):
            return False
        if not rising and _moves(ops) and _anothers_turn(document, action, name) and not await self._may_take(rollout):
            return False
        if action.plan.adds_mirror(seen):
            await self._check_target(action.plan.pair)
        if action.intent is None:
            return await self._release(action, document, gate)
        if failing_since is not None and action.intent.mode is Mode.ROLLBACK:
            self._on_rollback(time.monotonic() - failing_since)
        gate(rising)
        try:
            answer = await self._send(action.key, document, ops)
        except ApiError as error:
            if rising or action.intent.mode is not Mode.ROLLBACK or not refusal(error):
                raise
            return await self._take_back(action, seen, gate, error)
        if answer is None:
            return False
        _compare(action, answer, document, name)
        return True

    async def _may_take(self, rollout: Json) -> bool:
        """Whether what another controller has given in this run may be taken back: not where it is a step ahead of what we have heard.

        Trouble of the API server holds up nothing that gives the canary less.
        """
        try:
            return await still_so(self._kube, self._store, self._key, rollout)
        except ApiError:
            return True

    async def _send(self, route: RouteKey, document: Json, ops: list[Operation]) -> Json | None:
        """The answer to a patch of a route, which is kept; None where it has moved, and was read again instead. Raises ApiError."""
        keep = partial(self._store.put_route, answer=True)
        try:
            answer = await self._kube.json_patch(
                self._resource(route), route.name, route.namespace, ops, strict=True, patience=PATIENCE
            )
        except (Conflict, Unprocessable, NotFound) as error:
            await moved(error, document, partial(self._get, route), keep, partial(self._store.drop_route, route))
            return None
        keep(answer)
        return answer

    async def _take_back(self, action: WriteRoute, seen: RouteReading, gate: Gate, error: ApiError) -> bool:
        """A rollback that is refused with all that it says: with fewer words, else the weights alone, else without a word.

        An annotation may be too long for a policy, all of them together for a route, and a route for the server's store. The
        canary's share goes back all the same. Raises the first refusal where the annotation does not say that the run ends.
        """
        (_, name), bare = self._key, action.intent and replace(action.intent, reason="", message="", request="")
        forms = [edit(seen, action.plan, bare, rollout=name)]
        if taken := taken_back(seen, action.plan, rollout=name):
            forms += [taken, edit(seen, action.plan, None, rollout=name)]
        for ops in forms:
            gate(False)
            with suppress(ApiError):
                answer = await self._send(action.key, seen.document, ops)
                if answer is None:
                    return False
                if ops is forms[0]:
                    _compare(replace(action, intent=bare), answer, seen.document, name)
                    return True
                error.args = (f"{error}; the canary's share was taken away without it",)
                break
        raise error

    async def _check_target(self, pair: Pair) -> None:
        """A mirror to a Service or port that is not there makes some gateways answer every user of the rule with 500."""
        target, field = pair.copied_to.backend, "spec.canary" if pair.comparer is None else "the step's mirror.comparer"
        words = f"requests cannot be mirrored to {target}"
        try:
            service = await self._kube.get(SERVICES, target.service, target.namespace)
        except NotFound as error:
            raise BackendMissing(f"{words}: there is no such Service; create it, or correct {field}") from error
        ports = [port.get("port") for port in service.get("spec", {}).get("ports") or ()]
        if target.port not in ports:
            listed = ", ".join(map(str, ports)) or "none"
            raise BackendMissing(f"{words}: the Service has no port {target.port}; its ports: {listed}")
        if pair.comparer is not None and not await ready_endpoints(self._kube, target.service, target.namespace):
            raise BackendMissing(f"{words}: no endpoint of the Service is ready; look at the comparer's Deployment")

    async def _get(self, route: RouteKey) -> Json:
        return await self._kube.get(self._resource(route), route.name, route.namespace)

    def _resource(self, route: RouteKey) -> Resource:
        return self._store.kinds.resource(route.kind)

    async def _release(self, action: WriteRoute, document: Json, gate: Gate, *, moved_first: bool = True) -> bool:
        """Take our annotation off and give our fields back: in one patch, or in two where weights have to change as well.

        The annotation goes with the second one: whoever comes after a crash between the two finds it, and does the rest.
        """
        _, name = self._key
        keep = partial(self._store.put_route, answer=True)
        fresh, ours = document, self._ours(action.key, document)
        if ours is None:
            try:
                fresh = await self._get(action.key)
            except NotFound:
                self._store.drop_route(action.key)
                return False
            if not _same_route(slim(fresh), document):
                keep(fresh)
                return False
            ours = given_back(fresh)
        ops = edit(fresh, action.plan, None, rollout=name)
        moves, alone = _moves(ops), _alone(fresh, name)
        in_two = moves and alone and moved_first and run_annotation(name) in _annotations(fresh)
        if in_two:
            ops = [op for op in ops if op["op"] == "test" or op["path"].startswith("/spec/")]
        elif not moves and alone:
            ops += ours
        if not ops:
            keep(fresh)
            return True
        gate(False)
        try:
            answer = await self._kube.json_patch(
                self._resource(action.key), action.key.name, action.key.namespace, ops, strict=True
            )
        except (Conflict, Unprocessable, NotFound) as error:
            gone = partial(self._store.drop_route, action.key)
            return await moved(error, fresh, partial(self._get, action.key), keep, gone)
        keep(answer)
        if in_two:
            return await self._finish(action, slim(answer), gate)
        if moves and alone:
            await self._give_back(action.key, answer)
        return True

    async def _finish(self, action: WriteRoute, document: Json, gate: Gate) -> bool:
        """The second of two patches. A gateway says of the first one how it took it, which may come between: it is tried again.

        Whoever else comes between, and changes what the route says, is left to the next decision.
        """
        for _ in range(RELEASES):
            if await self._release(action, document, gate, moved_first=False):
                return True
            kept = self._store.routes.get(action.key)
            if kept is None or not _same_route(kept.document, document):
                return False
            document = kept.document
        return False

    def _ours(self, route: RouteKey, document: Json) -> list[Operation] | None:
        """What gives our fields back, as of a document; None when that is not known.

        Whoever has written it since, another run of ours included, has changed an entry that this tests, or moved it.
        """
        kept = self._store.routes.get(route)
        return kept.release if kept is not None and kept.version == version(document) else None

    async def _give_back(self, route: RouteKey, document: Json) -> None:
        """The second patch. Who writes at the same time is waited for a few times; nothing but an owner's comfort is at stake."""
        for _ in range(RELEASES):
            ops = given_back(document)
            if not ops:
                return
            try:
                answer = await self._kube.json_patch(self._resource(route), route.name, route.namespace, ops)
                self._store.put_route(answer, answer=True)
            except (Conflict, Unprocessable):
                document = await self._get(route)
            except NotFound:
                return
            else:
                return


def _annotations(document: Json) -> dict[str, str]:
    annotations: dict[str, str] = document.get("metadata", {}).get("annotations") or {}
    return annotations


def _our_turn(document: Json, action: WriteRoute, rollout: str) -> bool:
    """Whether the route names this run and our turn already: then whoever took over since has changed what we test."""
    annotations = _annotations(document)
    there, ours = parse_intent(annotations.get(run_annotation(rollout))), action.intent
    return (
        there is not None and ours is not None and (there.uid, there.run, there.turn) == (ours.uid, ours.run, ours.turn)
    )


def _anothers_turn(document: Json, action: WriteRoute, rollout: str) -> bool:
    """Whether the route names this run and the turn of another controller, and a step of the run is to be written."""
    annotations = _annotations(document)
    there, ours = parse_intent(annotations.get(run_annotation(rollout))), action.intent
    if there is None or ours is None or ours.mode is not Mode.STEP:
        return False
    return (there.uid, there.run) == (ours.uid, ours.run) and there.turn != ours.turn


def _moves(ops: list[Operation]) -> bool:
    """Whether a patch changes more than annotations."""
    return any(op["op"] != "test" and op["path"].startswith("/spec/") for op in ops)


def _versioned(ops: list[Json]) -> bool:
    """Whether a patch is refused if anybody has written the route since it was read."""
    return any(op["op"] == "test" and op["path"] == "/metadata/resourceVersion" for op in ops)


def _same_route(fresh: Json, seen: Json) -> bool:
    one, other = fresh.get("metadata", {}), seen.get("metadata", {})
    return fresh.get("spec") == seen.get("spec") and one.get("annotations") == other.get("annotations")


def _alone(document: Json, rollout: str) -> bool:
    """Whether no other Rollout has a run on this route: its fields are ours as well."""
    annotations = _annotations(document)
    return not any(name.startswith(PREFIX) and name != run_annotation(rollout) for name in annotations)


def _compare(action: WriteRoute, answer: Json, document: Json, rollout: str) -> None:
    """What was written has to be what is kept. Raises WriteAltered."""
    intent = action.intent
    annotations = _annotations(answer)
    if intent is not None and parse_intent(annotations.get(run_annotation(rollout))) != parse_intent(intent.dump()):
        raise WriteAltered(
            f"the API server took the patch of {action.key.name} and keeps another {run_annotation(rollout)}"
        )
    altered = action.plan.kept(answer, document)
    if altered:
        raise WriteAltered(altered)
