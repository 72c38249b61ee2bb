"""What is found out for a run, off the tick, as long as it needs it: by measurements, counters, Jobs and gates that are asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.queries import Backend, gate_query
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source
from canary.checks.sources.web import Web
from canary.controller.asking import Asking, Question
from canary.controller.deps import Deps
from canary.controller.job_documents import RunOf
from canary.controller.measure import Measurements, Post
from canary.controller.observation import Observation
from canary.controller.rendering import Rendering
from canary.controller.run_state import RunState
from canary.decide.comparing import settled_from
from canary.decide.gates import asked, declared
from canary.decide.scope import Scope, measuring
from canary.model.gates import HttpGate
from canary.observe.objects import Key


class Evidence:
    """Of one Rollout. `post` gets what is measured; `wake` is called with every answer of a gate.

    What is asked is rendered by the state as it is then, so nothing is measured before the first tick.
    """

    def __init__(self, key: Key, deps: Deps, state: RunState, post: Post, wake: Callable[[], None]) -> None:
        self._key = key
        self._state = state
        self._jobs = deps.jobs
        self._rendering = Rendering(key)
        weigh = deps.conditions.of(*key)
        self.measurements = Measurements(
            deps.clock, deps.provider, self._render, post, key, weigh=weigh, pace=deps.pace, jobs=deps.jobs
        )
        self.asking = Asking(deps.clock, deps.provider, self._render_gate, wake, key, pace=deps.pace)
        self._looked_through: tuple[tuple[ResolvedCheck, ...], bool] = (), False

    def suspend(self) -> None:
        """Find out nothing any more; the next `sync` begins anew."""
        self.measurements.sync((), None)
        self.asking.sync(None)

    async def stop(self) -> None:
        """End every task and wait for it."""
        await self.measurements.stop()
        await self.asking.stop()

    def sync(self, observation: Observation) -> None:
        """Measure, count, run and ask from now on what this decision waits for, and nothing else."""
        if observation.spec.asks_gates:
            self._ask(observation)
        self._drop_jobs(observation)
        counters = observation.facts.counters
        also = () if counters is None else (counters.check,)
        run = observation.status.run
        since = run.traffic_since if run is not None else None
        if not observation.status.active or run is None or run.outcome is not None:
            self.measurements.sync((), None)
            self._tidy_jobs(observation)
        elif since is None:
            self.measurements.sync(also, None)  # what the canary gets before the routes send it anything
        elif measuring(observation.spec, observation.status):
            settled = self._settled(observation)
            checks = (
                check
                for check in observation.facts.checks
                if check.lost is None
                and (
                    check.name in settled or not (isinstance(check.judge, Against | Answers) or check.lasts is not None)
                )
            )
            step = observation.status.step
            evidence_since = step.evidence_since if step is not None else None
            run_of = self._jobs_for(observation)
            self.measurements.sync((*checks, *also), since, settled, observation.facts.settle, evidence_since, run_of)

    def _runs_jobs(self, checks: tuple[ResolvedCheck, ...]) -> bool:
        """Whether any of them is a Job; the same checks are looked through once."""
        if self._looked_through[0] is not checks:
            self._looked_through = checks, any(check.lasts is not None for check in checks)
        return self._looked_through[1]

    def _tidy_jobs(self, observation: Observation) -> None:
        """What a run that is over has left running is removed, whoever has begun it."""
        if self._jobs is not None:
            self._jobs.tidy(self._key[0], observation.facts.uid, observation.status)

    def _drop_jobs(self, observation: Observation) -> None:
        """Once, of what was taken over: those of checks that were declared until nobody looked, for nobody asks any more what they find."""
        recorded, self._state.taken_over = self._state.taken_over, None
        if recorded is None or self._jobs is None or not recorded.active:
            return
        declared = {check.name for check in observation.facts.checks}
        for check in recorded.checks:
            if check.job_seconds is not None and check.name not in declared:
                self._jobs.remove(self._key[0], observation.facts.uid, check.name)

    def _jobs_for(self, observation: Observation) -> RunOf | None:
        """For whom Jobs of checks run now; None: there are no such checks."""
        run, step = observation.status.run, observation.status.step
        if run is None or step is None or not self._runs_jobs(observation.facts.checks):
            return None
        return RunOf(*self._key, observation.facts.uid, run.number, step.started_at)

    def _ask(self, observation: Observation) -> None:
        """Ask the system that the gate of the step names, where the run waits for nothing else that takes its time."""
        scope = Scope(observation.spec, observation.status, observation.facts)
        whom, gate = asked(scope), declared(scope)
        if whom is None or gate is None:
            self.asking.sync(None)
            return
        interval = gate.pause.total_seconds()
        self.asking.sync(Question(whom, interval, scope.run.number, scope.step.started_at))

    @staticmethod
    def _settled(observation: Observation) -> dict[str, datetime]:
        """By comparison, from when on its counters may be read; by Job, since when its step lasts, once that is reached."""
        settle, found, step = observation.facts.settle, dict[str, datetime](), observation.status.step
        for check in observation.facts.checks:
            if check.lasts is not None and step is not None and step.evidence_since is not None:
                found[check.name] = step.started_at
            if isinstance(check.judge, Against | Answers):
                at = settled_from(check.judge, observation.status.check(check.name), settle)
                if at is not None:
                    found[check.name] = at
        return found

    def _render(self, check: ResolvedCheck, backend: Backend | None = None) -> Source:
        if self._state.spec is None or self._state.status is None:
            raise AssertionError("measuring only follows a tick")
        return self._rendering(check, backend, self._state.spec, self._state.status)

    def _render_gate(self, gate: HttpGate) -> Web:
        if self._state.spec is None or self._state.status is None:
            raise AssertionError("asking only follows a tick")
        namespace, name = self._key
        status = self._state.status
        revision = status.run.revision if status.run is not None else ""
        index = status.step.index if status.step is not None else 0
        kind = self._state.spec.steps[index - 1].kind if 0 < index <= len(self._state.spec.steps) else "gate"
        return gate_query(
            gate,
            self._state.spec,
            namespace,
            name,
            weight=float(status.split.desired),
            step=kind,
            revision=revision,
            swapped=status.swapped,
        )
