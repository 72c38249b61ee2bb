"""Asks the metrics provider, once per edit, whether it would accept the queries of a Rollout.

A query that Prometheus refuses makes a Rollout Invalid before it ever runs. A provider that cannot be reached refuses
nothing: that is for the checks of a run to find out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from canary.checks.queries import check_questions, gate_query, gates_of
from canary.checks.traffic import TRAFFIC, traffic_queries
from canary.controller.deps import Deps
from canary.controller.vouching import vouched_if_known
from canary.decide.approval import NOBODY_CHECKS
from canary.decide.facts import Problem
from canary.errors import RenderError
from canary.fair import FairLimit
from canary.metrics.port import Query
from canary.model.rollout import RolloutSpec
from canary.model.status import Phase
from canary.observe.checks import kept_template, resolve_checks, templates_of
from canary.observe.objects import Key
from canary.observe.rollout import Rollout

Edition = tuple[str, ...]
"""What the queries of a Rollout depend on: its generation and the versions of its templates."""

AT_ONCE = 8
"""Queries that are validated at a time: few, since runs measure with the same workers."""

TIMEOUT = 5.0
AGAIN_SECONDS = 60.0
"""A refused query is asked again this often: the server may be another one tomorrow."""


class QueryValidation:
    """Remembers, per Rollout, what was validated and what was refused. `on_done(key)` is called when an answer is in."""

    def __init__(self, deps: Deps, on_done: Callable[[Key], None]) -> None:
        self._deps = deps
        self._on_done = on_done
        self._known: dict[Key, Edition] = {}
        self._refusals: dict[Key, tuple[Problem, ...]] = {}
        self._asking: dict[Key, Edition] = {}
        self._limit = FairLimit(AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()

    def check(self, key: Key, rollout: Rollout) -> bool:
        """Whether the answer for this edition is known; if not, go and ask for it."""
        if rollout.spec is None or rollout.deleting:
            return True
        edition = self._edition(key, rollout)
        if self._known.get(key) == edition:
            return True
        first = key not in self._known and key not in self._asking
        seen_before = rollout.status.observed_generation == rollout.generation
        if first and seen_before and rollout.status.phase not in {None, Phase.INVALID}:
            self._known[key] = edition  # an earlier life of this controller has asked already
            return True
        if self._asking.get(key) != edition:
            self._asking[key] = edition
            self._spawn(self._ask(key, edition, rollout))
        return False

    def refusals(self, key: Key) -> tuple[Problem, ...]:
        return self._refusals.get(key, ())

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)
        self._refusals.pop(key, None)
        self._asking.pop(key, None)

    async def stop(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, asking: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(asking, name="vet queries")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _edition(self, key: Key, rollout: Rollout) -> Edition:
        named = templates_of(rollout.spec) if rollout.spec else ()
        kept = (kept_template(self._deps.store, key[0], ref) for ref in named)
        versions = [template.version if template is not None else "" for template in kept]
        return (rollout.uid, str(rollout.generation), *versions)

    async def _ask(self, key: Key, edition: Edition, rollout: Rollout) -> None:
        refusals = await self._refused(rollout)
        if self._asking.get(key) != edition:
            return  # edited meanwhile: another answer is on its way
        del self._asking[key]
        self._known[key] = edition
        self._refusals[key] = refusals
        self._on_done(key)
        if refusals:
            await self._deps.clock.sleep(AGAIN_SECONDS)
            if self._known.get(key) == edition and self._refusals.get(key):
                self._asking[key] = edition
                self._spawn(self._ask(key, edition, rollout))

    async def _refused(self, rollout: Rollout) -> tuple[Problem, ...]:
        problems = []
        for field, query in _queries(self._deps, rollout):
            async with self._limit.held(query.tenant, field):
                refusal = await self._deps.provider.validate(query)
            if refusal is not None:
                said = f"{query.source.PROVIDER} refuses the query: " if refusal.asked else ""
                blamed = f"{field.rpartition('.')[0]}.{refusal.field}" if refusal.field else field
                problems.append(Problem(blamed, f"{said}{refusal.words}"))
        if rollout.spec is not None and rollout.spec.names_approvers:
            known = await vouched_if_known(self._deps.kube, self._deps.tries, rollout.namespace, rollout.name)
            if known is False:
                problems.append(Problem(_first_approvers(rollout.spec), NOBODY_CHECKS))
        return tuple(dict.fromkeys(problems))  # the two of spec.traffic are mostly refused in the same words


def _first_approvers(spec: RolloutSpec) -> str:
    named = (
        index for index, step in enumerate(spec.steps) if step.approval is not None and step.approval.by is not None
    )
    return f"spec.steps[{next(named)}].approval.by"


def _queries(deps: Deps, rollout: Rollout) -> list[tuple[str, Query]]:
    """Every query that renders, with its field. Those that do not are problems of their own."""
    spec = rollout.spec
    if spec is None:
        return []
    namespace, name = rollout.namespace, rollout.name
    found: list[tuple[str, Query]] = []
    places = {check.key: f"spec.checks[{index}]" for index, check in enumerate(spec.checks)}
    checks = resolve_checks(deps.store, namespace, name, spec)
    for check in checks.resolved:
        if check.lost is not None:
            continue
        try:
            questions = check_questions(check, spec, namespace, name, weight=1)
        except RenderError:
            continue
        for path, source in questions:
            field = ".".join((places[check.name], *path))
            found.append((field, Query(source, TIMEOUT, tenant=(namespace, name))))
    for index, gate in gates_of(spec):
        with suppress(RenderError):
            asked = gate_query(gate, spec, namespace, name, weight=1)
            found.append((f"spec.steps[{index}].gate.http.url", Query(asked, TIMEOUT, tenant=(namespace, name))))
    if checks.traffic is not None:
        with suppress(RenderError):
            for source in traffic_queries(checks.traffic, spec, namespace, name, weight=1):
                field = ".".join((TRAFFIC, *source.FIELD))
                found.append((field, Query(source, TIMEOUT, tenant=(namespace, name))))
    return found
