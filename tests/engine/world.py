"""A cluster in memory, and a controller that lives in it, can fail at every write and can die at any moment.

Routes are real HTTPRoute documents: written by JSON Patch, read back through `canary.routes`. The status that counts is
what was recorded; the controller's own memory is lost with every crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import jsonpatch
from promises import Promises, duplicate, of_spot, spot

from canary.checks.comparable import with_alphas
from canary.checks.resolve import Lost, ResolvedCheck, lost, resolve
from canary.checks.traffic import resolve_traffic
from canary.decide import matching, mirroring
from canary.decide.actions import (
    Action,
    AddFinalizer,
    ClearRequest,
    CopyPodSpec,
    EmitEvent,
    ForgetPodSpec,
    ReleaseReplicas,
    RemoveFinalizer,
    RestorePodSpec,
    ScaleWorkload,
    StampRequest,
    WriteRoute,
)
from canary.decide.engine import decide
from canary.decide.facts import (
    CopyView,
    Facts,
    FormerView,
    Problem,
    Recorded,
    RouteView,
    ScalingView,
    Unseen,
    WorkloadView,
)
from canary.decide.scope import Decision, Scope
from canary.decide.timing import rebased
from canary.decide.writes import foreign
from canary.errors import (
    CanaryError,
    Conflict,
    Forbidden,
    NotFound,
    NothingToRestore,
    ShareError,
    SpecError,
    Unavailable,
    Unprocessable,
    WriteAltered,
)
from canary.model.measurement import Malformed, Measured, Measurement, NoData, Reading, Sample, Unreachable
from canary.model.requests import claim, parse_request
from canary.model.rollout import RolloutSpec, RouteKind, RouteRef
from canary.model.status import Phase, RolloutStatus
from canary.model.workloads import DEPLOYMENT
from canary.observe.roles import Roles
from canary.observe.rollout import Rollout
from canary.observe.routes import Viewer, permitted, placed, view
from canary.preflight.look import findings
from canary.preflight.offers import Platform
from canary.preflight.surroundings import POLICY, Documents
from canary.routes.acceptance import last_writer
from canary.routes.edit import edit
from canary.routes.features import Feature
from canary.routes.intent import run_annotation
from canary.routes.key import RouteKey
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair, read_pairs
from canary.routes.weights import divide
from canary.status.project import project
from canary.status.write import SETTLE, Urgency, merge_patch, urgency

Json = dict[str, Any]
RUN_ANNOTATION = run_annotation("shop")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMESPACE = "team"


GONE = Lost("TemplateNotFound", "there is no CheckTemplate of that name")

AROUND = Documents(known=[(POLICY, "")], platform=Platform({"*": frozenset(Feature)}))
"""Nothing is known of what stands around the routes, but that gateways can do whatever a step asks, and that no policy is there."""


class Fault(StrEnum):
    """What can go wrong with a write."""

    CONFLICT = "somebody else writes first"
    REFUSED = "500, nothing was done"
    LOST = "500, but it was done"
    DIES_BEFORE = "the controller dies before it"
    DIES_AFTER = "the controller dies after it"


class Gateways(StrEnum):
    """How the parents of the routes behave."""

    PROMPT = "prompt"
    LATE = "late"
    REFUSING = "refusing"


class Crash(Exception):
    """The controller is gone."""


@lru_cache(256)
def _loaded(recorded: str) -> RolloutStatus:
    """Statuses are looked at far more often than written."""
    return RolloutStatus.load(json.loads(recorded))


@dataclass
class Workload:
    name: str
    revision: str
    ready: int = 1
    rolled_out: bool = True
    record: CopyView | None = None
    """What a copy has left on record."""
    writer: str = ""
    replicas: int = 1
    scaled: bool = False
    """Our entry is among those who wrote its replicas."""
    scaler: str = ""
    slow: bool = False
    """Replicas that it is given do not become ready by themselves."""
    unknown: str = ""
    """Why what its revision includes cannot be read."""
    bare: str = ""
    """Its revision by the pod spec alone, where it includes more."""
    pod_spec: str = ""
    """Its pod spec without what names what its revision includes."""
    stuck: str = ""
    unseen: bool = False
    """Its kind is out of sight."""
    there: bool = True
    anonymous: bool = False
    """Nobody is on record as who scales it, as of one that had no replicas before."""
    by_us: bool = False
    """Whether it was the controller that has scaled it last, which only this world knows for sure."""
    history: list[str] = field(default_factory=list)
    """Revisions that it had, as its ReplicaSets keep them."""

    @property
    def kept(self) -> str | None:
        """The revision that a copy on record replaced."""
        return self.record.replaced if self.record is not None else None

    def view(self) -> WorkloadView:
        if not self.there:
            return WorkloadView(self.name, False)
        return WorkloadView(
            self.name,
            True,
            "" if self.unknown else self.revision,
            self.ready,
            self.rolled_out and self.ready >= max(self.replicas, 1),
            self.record,
            self.writer,
            self.replicas,
            scaled=self.scaled,
            scaler=self.scaler,
            stuck=self.stuck,
            unknown=self.unknown,
            bare=self.bare,
            pod_spec=self.pod_spec,
        )

    @property
    def out_of_sight(self) -> Unseen | None:
        return Unseen(self.name, DEPLOYMENT, "its kind is out of sight") if self.unseen else None

    def give(self, replicas: int, *, by: str = "") -> None:
        """Somebody scales it."""
        self.replicas, self.scaled = replicas, not by and not self.anonymous
        self.scaler, self.by_us = by, not by  # who writes the number takes it over
        if not self.slow or replicas < self.ready:
            self.ready = replicas


def route(name: str, *rules: Json, parents: int = 1) -> Json:
    """An HTTPRoute with things in it that are none of our business."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "generation": 1,
            "resourceVersion": "1",
            "labels": {"app": name},
            "annotations": {"example.org/owner": "team"},
        },
        "spec": {
            "hostnames": ["shop.example.org"],
            "parentRefs": [{"name": f"gw-{number}", "sectionName": "https"} for number in range(parents)],
            "rules": list(rules) or [rule()],
            "x-vendor": {"unknown": [1, 2.5, None, "é"]},
        },
        "status": {"parents": []},
    }


def mirror_to(name: str, **more: Any) -> Json:
    """A filter that sends copies to a Service."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **more}}


def rule(
    *,
    name: str | None = None,
    stable: int | None = 1,
    canary: int | None = 0,
    third: int | None = None,
    method: str | None = None,
    filters: list[Json] | None = None,
) -> Json:
    """A rule with our pair, a filter, and maybe a third backend in front of it; `filters` instead of that one."""
    refs: list[Json] = [{"name": "s", "port": 80, "x-zone": "a"}, {"name": "c", "port": 80}]
    for ref, weight in zip(refs, (stable, canary), strict=True):
        if weight is not None:
            ref["weight"] = weight
    if third is not None:
        refs.insert(0, {"name": "third", "port": 80, "weight": third})
    document: Json = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}],
        "backendRefs": refs,
        "timeouts": {"request": "5s"},
    }
    if method is not None:
        document["matches"][0]["method"] = method
    if filters is not None:
        document["filters"] = filters
    return document if name is None else {"name": name, **document}


def stranger() -> Json:
    """A rule without our pair."""
    return {"name": "static", "backendRefs": [{"name": "assets", "port": 8080, "weight": 7}]}


BASIC: Json = {
    "routes": [{"name": "shop"}],
    "stable": {"service": "s", "port": 80},
    "canary": {"service": "c", "port": 80},
    "workloads": {"stable": {"name": "stable"}, "canary": {"name": "canary"}},
    "steps": [{"weight": 10, "hold": "10s"}, {"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "10s"}],
    "checks": [{"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}}],
}


def spec_of(**changes: Any) -> RolloutSpec:
    """The basic spec with some fields replaced; None drops one."""
    document = {**BASIC, **changes}
    return RolloutSpec.model_validate({key: value for key, value in document.items() if value is not None})


@dataclass
class World:
    """The cluster, the people in it, and one controller."""

    spec: RolloutSpec = field(default_factory=spec_of)
    routes: dict[str, Json] = field(default_factory=lambda: {"shop": route("shop")})
    """By name; those of another kind than HTTPRoute by `kind/name` (see `spot`)."""
    gateways: Gateways = Gateways.PROMPT
    now: datetime = START
    generation: int = 1
    finalizer: bool = False
    deleting: bool = False
    gone: bool = False
    unread: Problem | None = None
    """Why what is declared now cannot be read."""
    request: str | None = None
    claimed: str | None = None
    """Who the request is said to be by."""
    vouched: bool | None = None
    """Whether somebody sees to it that this is true; None: that is not known yet."""
    recorded: Json = field(default_factory=dict)
    memory: RolloutStatus | None = None
    """What the controller knows; None while it is dead."""
    decision: Decision | None = None
    news: list[tuple[str, Measured]] = field(default_factory=list)
    counters: Reading | None = None
    """What spec.traffic has read since the last tick."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """By target (a route's name, `rollout`, `workload`, `status`): what happens to the next write there."""
    _readings: dict[str, RouteReading] = field(default_factory=dict)
    _resolved: tuple[RolloutSpec, frozenset[str], bool, tuple[ResolvedCheck, ...]] | None = None
    seen: dict[str, Json] = field(default_factory=dict)
    """Routes as the controller read them, where somebody wrote in between."""
    script: Callable[[int, str], Fault | None] | None = None
    """What happens to the n-th write, counted over the life of the world."""
    wrote: list[tuple[str, Any]] = field(default_factory=list)
    told: list[EmitEvent] = field(default_factory=list)
    attempts: int = 0
    failing: bool = False
    """Whether some write of the last tick failed, so that it is tried again."""
    settling: datetime | None = None
    writes_in_step: int = 0
    counted: Any = None
    stamps: int = 0
    stable: Workload = field(default_factory=lambda: Workload("stable", "a"))
    canary: Workload = field(default_factory=lambda: Workload("canary", "a"))
    former: dict[str, Workload] = field(default_factory=dict)
    """Workloads that were the canary before, by name."""
    strips: bool = False
    """Whether admission takes the annotation off a workload that is copied to."""
    uncopied: str = ""
    unrestored: dict[int, str] = field(default_factory=dict)
    admit: Callable[[str], str] = str
    """What admission makes of a pod spec that is copied."""
    lives: int = 1
    over: frozenset[str] = frozenset()
    """Turns that are known to be over."""
    reckons: bool = False
    """Whether a controller that comes to the Rollout reckons its times by its own clock, as real ones do; else all have one that stands still while nobody is there."""
    fresh: bool = True
    since: datetime | None = None
    settle: timedelta = timedelta(0)
    """How long the gateways' data planes take to follow what they report."""
    blind: bool = False
    blind_since: datetime | None = None
    unwritten: dict[RouteKey, str] = field(default_factory=dict)
    unstamped: str = ""
    good: dict[str, datetime] = field(default_factory=dict)
    """Comparisons that have proved the canary good, in this life, and since when they have counted."""
    gate: Measurement | None = None
    """What the gate of the step said last, in this life."""
    admission: Callable[[Json], None] | None = None
    """What admission makes of a route that the controller writes."""
    altered: dict[RouteKey, int] = field(default_factory=dict)
    """Routes that the API server keeps otherwise than they were written, by their generation then; forgotten with a crash."""
    around: Documents = AROUND
    scaling: ScalingView = field(default_factory=lambda: ScalingView(known=True))
    denied: frozenset[str] = frozenset()
    """Targets that the controller has no right to write."""
    lost: frozenset[str] = frozenset()
    """Checks of which nobody can tell what they ask, since their template is gone."""
    remembers: bool = False
    """Whether the controller knows what they were."""
    forged: bool = False
    """Somebody has written what is on record."""
    trouble: tuple[Problem, ...] = ()
    """What is wrong with what is declared, besides what the routes say."""
    wall: timedelta = timedelta(0)
    """How far the API server's clock is from ours."""
    unserved: dict[RouteKind, str] = field(default_factory=dict)
    """Why routes of a kind cannot be seen."""
    roles: Roles = field(default_factory=Roles)
    """Whose roles are known to be changed, in this life."""
    senseless: tuple[str, ...] = ()
    """What of the status on record made no sense when it was taken in, in this tick."""
    promises: Promises = field(init=False)

    def __post_init__(self) -> None:
        self.promises = Promises(self)
        for name in self.routes:
            self._answer(name)

    # -- what the controller sees ---------------------------------------------------------------------------------

    @property
    def status(self) -> RolloutStatus:
        """What `kubectl get` shows."""
        return _loaded(json.dumps(self.recorded))

    @property
    def turn(self) -> str:
        """What this life of the controller is called on the routes."""
        return f"life-{self.lives}"

    @property
    def phase(self) -> Phase | None:
        return self.memory.phase if self.memory else self.status.phase

    @property
    def checks(self) -> tuple[ResolvedCheck, ...]:
        """As resolved; whoever asks the same again is given the same, as the controller does."""
        known = self._resolved
        if known is None or known[0] is not self.spec or known[1:3] != (self.lost, self.remembers):
            known = self._resolved = (self.spec, self.lost, self.remembers, self._resolve())
        return known[3]

    def _resolve(self) -> tuple[ResolvedCheck, ...]:
        resolved = (resolve(check, None, f"spec.checks[{index}]") for index, check in enumerate(self.spec.checks))
        known = zip(self.spec.checks, with_alphas(resolved, self.spec), strict=True)
        return tuple(
            lost(declared, GONE, check if self.remembers else None) if check.name in self.lost else check
            for declared, check in known
        )

    def pairs(self, name: str, *, document: Json | None = None) -> tuple[RulePair, ...]:
        swapped = (self.memory or self.status).swapped
        declared = next((ref for ref in self.spec.routes if spot(ref) == name), None)
        rules = declared.rules if declared else ()
        pair = Pair.of(self.spec, NAMESPACE, swapped=swapped)
        return read_pairs(self.routes[name] if document is None else document, pair, rules)

    def pairs_if_any(self, name: str, document: Json | None = None) -> tuple[RulePair, ...]:
        try:
            return self.pairs(name, document=document)
        except SpecError:
            return ()

    def view(self, name: str, *, declared: bool = True) -> RouteView:
        document = self.routes.get(name)
        kind, plain = of_spot(name)
        ref = next((ref for ref in self.spec.routes if spot(ref) == name), RouteRef(kind=kind, name=plain))
        viewer = Viewer("shop", NAMESPACE, self.spec, self.memory or self.status)
        reading = self.reading(name) if document is not None else None
        missing = "" if document is not None else self.unserved.get(ref.kind, "")
        writer = last_writer(document or {})
        return view(viewer, ref, reading, writer=writer, declared=declared, missing=missing)

    def reading(self, name: str) -> RouteReading:
        """Of a route as it is now; whoever looks at the same version again gets the same one, as of the controller's store."""
        reading = self._readings.get(name)
        if reading is None or reading.document is not self.routes[name]:
            reading = self._readings[name] = RouteReading(self.routes[name])
        return reading

    def facts(self) -> Facts:
        memory = self.memory or self.status
        names = [spot(ref) for ref in self.spec.routes]
        views = [self.view(name) for name in names]
        if memory.active:
            others = [old for old in memory.routes if spot(old) not in names]
            left = [spot(old) for old in others if old.owned or self.annotated(spot(old))]
            views += [self.view(name, declared=False) for name in left]
        views = [placed(seen, self.around) for seen in views]
        if memory.active and (memory.run is None or memory.run.outcome is None):
            views = [permitted(seen, self.around) for seen in views]
        stable, canary = (self.canary, self.stable) if memory.swapped else (self.stable, self.canary)
        known = self.spec.workloads is not None
        recorded = self.status
        return Facts(
            now=self.now,
            name="shop",
            uid="uid-1",
            generation=self.generation,
            deleting=self.deleting,
            finalizer=self.finalizer,
            routes=tuple(views),
            stable=stable.view() if known and not stable.unseen else None,
            canary=canary.view() if known and not canary.unseen else None,
            unseen_stable=stable.out_of_sight if known else None,
            unseen_canary=canary.out_of_sight if known else None,
            swapped=memory.swapped,
            checks=self.checks,
            counters=resolve_traffic(self.spec.traffic, None) if self.spec.traffic is not None else None,
            measurements=tuple(self.news),
            traffic=self.counters,
            request=parse_request(self.request, self.claimed),
            unstamped=self.unstamped,
            vouched=self.vouched,
            unread=str(self.unread or ""),
            problems=(
                *([self.unread] if self.unread else []),
                *self.trouble,
                *(Problem("spec.checks", GONE.message) for _ in self.lost),
                *self._out_of_sight(),
                *self._problems(views, memory),
            ),
            findings=tuple(findings(self.spec, NAMESPACE, self._sound(views), self.around)),
            recorded=Recorded.of(recorded),
            senseless=self.senseless,
            turn=self.turn,
            over=self.over,
            fresh=self.fresh,
            since=self.since,
            settle=self.settle,
            blind=self.blind,
            blind_since=self.blind_since,
            unwritten=dict(self.unwritten),
            altered=dict(self.altered),
            uncopied=self.uncopied,
            unrestored=dict(self.unrestored),
            scaling=self.scaling,
            former=self._former(memory),
            time_of_day=self.now + self.wall,
            gate=self.gate,
            good=dict(self.good),
        )

    def _former(self, memory: RolloutStatus) -> dict[tuple[str, str], FormerView]:
        """What is on record of workloads that are not the canary any more."""
        books = [(each.kind, each.name) for each in memory.former_canaries]
        books += [(memory.scale.kind or DEPLOYMENT, memory.scale.workload)] if memory.scale is not None else []
        gone = Workload("", "", there=False)
        there = {workload.name: workload for workload in (*self.former.values(), self.stable, self.canary)}
        mine = {self.stable.name, self.canary.name}
        return {
            (kind, name): FormerView(
                there.get(name, gone).view(),
                self.scaling,
                unseen=there.get(name, gone).unseen,
                used=name in mine,
            )
            for kind, name in books
            if kind == DEPLOYMENT
        }

    def _sound(self, views: list[RouteView]) -> dict[RouteKey, RouteReading]:
        sound = (view for view in views if view.declared and view.exists and not view.problem)
        return {view.key: self.reading(spot(view)) for view in sound}

    def _out_of_sight(self) -> Iterator[Problem]:
        if self.spec.workloads is not None:
            for workload in (self.stable, self.canary):
                if (unseen := workload.out_of_sight) is not None:
                    yield Problem(f"spec.workloads.{unseen.name}", unseen.why)

    def _problems(self, views: list[RouteView], memory: RolloutStatus) -> list[Problem]:
        problems = []
        for seen in views:
            if not seen.declared:
                continue
            if not seen.exists:
                problems.append(Problem("spec.routes", f"there is no {seen.label}"))
            elif seen.problem:
                problems.append(Problem("spec.routes", seen.problem))
            elif not memory.active:
                problems += self._unwritable(seen)
        if all(seen.exists and not seen.problem for seen in views):
            found = frozenset(rule.key for seen in views if seen.declared for rule in seen.rules)
            problems += [Problem("spec.steps", words) for _, _, words in self.spec.misnamed(found)]
        problems += mirroring.problems(self.spec, views, active=memory.active)
        at = memory.step.index if memory.active and memory.step else 0
        return [*problems, *matching.problems(self.spec, views, step=at)]

    def _unwritable(self, view: RouteView) -> list[Problem]:
        try:
            for rule_view in view.rules:
                for index in range(len(self.spec.steps)):
                    share = self.spec.shares_at(index + 1).of(rule_view.key)
                    divide(rule_view.weights, share, rule_view.others)
        except ShareError as error:
            return [Problem("spec.routes", str(error))]
        return []

    # -- the controller -------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Decide and act once; False when nothing came of it."""
        if self.gone:
            return False
        before = self._picture()
        self.failing = False
        try:
            self._tick()
        except Crash:
            self.crash()
            return True
        return self.failing or self._picture() != before

    def _tick(self) -> None:
        self.senseless = ()
        if self.memory is None:
            self.memory = self._taken_in()
            self.fresh, self.since = True, self.now
        memory, facts = self.memory, self.facts()
        self.news, self.counters = [], None
        decision = decide(self.spec, memory, facts)
        self.roles.note("uid-1", swapped=decision.status.swapped)
        self.promises.decided(memory, facts, decision)
        self.decision = decision
        after = project(self.spec, decision, facts)
        self.fresh = self.fresh and bool(foreign(Scope(self.spec, decision.status, facts)))
        moved, self.unstamped = False, ""
        # Routes first, each on its own, as the executor does; what fails is decided anew in the next tick.
        for action in sorted(decision.actions, key=lambda action: not isinstance(action, WriteRoute)):
            try:
                before = self.attempts
                self.perform(action)
                moved = moved or self.attempts > before
            except (Conflict, Unprocessable):
                moved = True  # read again
            except CanaryError as error:
                self.failing = True
                if isinstance(action, WriteRoute):
                    self.unwritten[action.key] = str(error)
                if isinstance(action, CopyPodSpec):
                    self.uncopied = str(error)
                if isinstance(action, StampRequest):
                    self.unstamped = action.raw
                if isinstance(action, ScaleWorkload | ReleaseReplicas):
                    denied = isinstance(error, Forbidden)
                    self.scaling = replace(self.scaling, failed=str(error), denied=denied)
            else:
                if isinstance(action, ScaleWorkload | ReleaseReplicas):
                    self.scaling = replace(self.scaling, failed="", denied=False)
                if isinstance(action, CopyPodSpec):
                    self.uncopied = ""
                if isinstance(action, WriteRoute):
                    self.unwritten.pop(action.key, None)
        self.memory = after
        if not moved and not self.gone:
            self._record(after)

    def _taken_in(self) -> RolloutStatus:
        """What a controller that comes to the Rollout believes of its status."""
        metadata = {"name": "shop", "namespace": NAMESPACE, "uid": "uid-1", "generation": self.generation}
        rollout = Rollout.of({"metadata": metadata, "spec": None, "status": json.loads(json.dumps(self.recorded))})
        readings = {RouteKey(*self._at(name)): self.reading(name) for name in self.routes}
        known = [
            each.revision if each.there and not (each.unseen or each.unknown) else ""
            for each in (self.stable, self.canary)
        ]
        stable, canary = known if self.spec.workloads is not None else ("", "")
        rollout = self.roles.credible(rollout, self.spec, readings, lambda: (stable, canary))
        self.senseless = rollout.senseless
        return rebased(rollout.status, self.now) if self.reckons else rollout.status

    @staticmethod
    def _at(name: str) -> tuple[RouteKind, str, str]:
        kind, plain = of_spot(name)
        return kind, NAMESPACE, plain

    def _picture(self) -> Any:
        routes = {name: document["metadata"]["resourceVersion"] for name, document in self.routes.items()}
        workloads = tuple(None if each.unseen else each.view() for each in (self.stable, self.canary))
        state = self.memory.model_copy(update={"message": ""}) if self.memory else None
        return routes, workloads, self.finalizer, self.gone, self.request, self.unstamped, self.recorded, state

    def run(self, *, limit: int = 25) -> Decision:
        """Tick until nothing changes, as the watch events of our own writes make the controller do."""
        for _ in range(limit):
            if not self.tick():
                assert self.decision is not None
                return self.decision
        raise AssertionError(f"the controller does not come to rest: {self.decision}")

    def wait(self, seconds: float) -> Decision:
        """Let time pass, waking the controller only when it asked to be."""
        until = self.now + timedelta(seconds=seconds)
        decision = self.run()
        while True:
            wakes = [decision.wake_at, self.settling + SETTLE if self.settling else None]
            at = min((wake for wake in wakes if wake is not None), default=None)
            if at is None or at > until or self.gone:
                break
            self.now = max(at, self.now)
            decision = self.run()
        self.now = until
        return self.run()

    def crash(self) -> None:
        """Everything that is not in the cluster is lost."""
        self.promises.crashed()
        self.lives += 1
        self.unwritten.clear()
        self.altered.clear()
        self.unrestored.clear()
        self.uncopied = self.unstamped = ""
        self.scaling = replace(self.scaling, failed="", denied=False)
        self.good.clear()
        self.roles = Roles()
        self.gate = None
        self.memory, self.news, self.settling, self.writes_in_step, self.counted = None, [], None, 0, None

    def perform(self, action: Action) -> None:
        match action:
            case WriteRoute():
                self._attempt(spot(action), lambda: self._write_route(action))
            case AddFinalizer():
                self._attempt("rollout", lambda: self._finalizer(present=True))
            case RemoveFinalizer():
                self._attempt("rollout", lambda: self._finalizer(present=False))
            case CopyPodSpec():
                self._attempt("workload", lambda: self._copy(action))
            case RestorePodSpec():
                self._attempt("workload", lambda: self._restore(action))
            case ForgetPodSpec():
                self._attempt("workload", lambda: self._forget(action.target))
            case ScaleWorkload():
                self._attempt("replicas", lambda: self._scale(action))
            case ReleaseReplicas():
                self._attempt("replicas", lambda: self._release(action))
            case StampRequest():
                self._attempt("rollout", lambda: self._stamp(action.raw))
            case ClearRequest():
                self._attempt("rollout", lambda: self._clear(action.raw))
            case EmitEvent():
                self.told.append(action)

    def _attempt(self, target: str, write: Callable[[], None]) -> None:
        fault = self.faults.pop(target, None)
        if fault is None and self.script is not None:
            fault = self.script(self.attempts, target)
        self.attempts += 1
        if target in self.denied:
            raise Forbidden("you may not", status=403)
        match fault:
            case Fault.DIES_BEFORE:
                raise Crash
            case Fault.REFUSED:
                raise Unavailable("500", status=500)
            case Fault.CONFLICT:
                if self.routes.get(target) and self.pairs_if_any(target):
                    self._somebody(target)
                else:
                    raise Conflict("409", status=409)
        try:
            write()
        except WriteAltered as altered:
            if fault is Fault.DIES_AFTER:  # the answer that says so reaches nobody
                raise Crash from altered
            raise
        match fault:
            case Fault.DIES_AFTER:
                raise Crash
            case Fault.LOST:
                raise Unavailable("502", status=502)

    def _write_route(self, action: WriteRoute) -> None:
        where = spot(action)
        if where not in self.routes:
            raise NotFound("404", status=404)
        seen = self.seen.pop(where, self.routes[where])
        patch = edit(seen, action.plan, action.intent, rollout="shop")
        if not patch:
            return
        try:
            after = jsonpatch.apply_patch(self.routes[where], patch)
        except jsonpatch.JsonPatchException as error:
            raise Unprocessable(str(error), status=422) from error
        before = self.routes[where]
        meant = after
        if self.admission is not None:
            after = duplicate(after)
            self.admission(after)
        self._store(where, after)
        self.promises.route_written(action, before, meant if self.admission is not None else self.routes[where])
        self.wrote.append(("route", action))
        self.altered.pop(action.key, None)
        if self.admission is not None and (altered := action.plan.kept(self.routes[where], before)):
            self.altered[action.key] = self.routes[where]["metadata"]["generation"]
            raise WriteAltered(altered)

    def _somebody(self, name: str) -> None:
        """Somebody else writes the route between our read and our write: the port's weight stays, a field moves."""
        self.seen[name] = duplicate(self.routes[name])
        pair = self.pairs_if_any(name)[0]

        def change(document: Json) -> None:
            document["spec"]["rules"][pair.rule]["backendRefs"][pair.stable]["x-zone"] = str(self.attempts)
            document["metadata"]["annotations"] = {
                **(document["metadata"].get("annotations") or {}),
                "example.org/seen": str(self.attempts),
            }

        self._store_changed(name, change, "somebody")
        self.promises.route_edited(name, self.seen[name], self.routes[name])

    def _finalizer(self, *, present: bool) -> None:
        if self.finalizer != present:
            self.wrote.append(("finalizer", present))
        self.finalizer = present
        if self.deleting and not present:
            self.gone = True
            self.promises.vanished()

    def _workload(self, name: str) -> Workload:
        return self.former.get(name) or (self.stable if name == self.stable.name else self.canary)

    def employ(self, name: str, revision: str = "b") -> None:
        """Somebody edits which workload is the canary."""
        self.former[self.canary.name] = self.canary
        self.promises.idle = False
        self.canary = self.former.pop(name, None) or Workload(name, revision)
        self.declare(workloads={"stable": {"name": self.stable.name}, "canary": {"name": name}})

    def somebody_deploys(self, revision: str, by: str) -> None:
        """Somebody puts another pod spec on stable, or the one of before with its annotations: what a run has copied there is theirs."""
        memory = self.memory or self.status
        stable = self.canary if memory.swapped else self.stable
        if memory.run is not None and memory.run.copied is not None and memory.run.copied.kept not in {"", revision}:
            self.promises.put_back.add(memory.run.number)
        stable.revision, stable.record, stable.writer, stable.rolled_out = revision, None, by, True

    def _copy(self, action: CopyPodSpec) -> None:
        assert action.run not in self.promises.put_back, "what somebody has put on stable since is copied over"
        source, target = self._workload(action.source), self._workload(action.target)
        if source.revision != action.revision or target.revision != action.replaces:
            raise Conflict("another revision than the decision saw", status=409)
        if self.strips:
            raise WriteAltered("the API server does not keep the annotation")
        self.wrote.append(("copy", action))
        target.history.append(target.revision)
        target.record = CopyView(action.uid, action.run, self.admit(source.revision), target.revision)
        target.revision, target.rolled_out = self.admit(source.revision), False

    def _restore(self, action: RestorePodSpec) -> None:
        target = self._workload(action.target)
        if target.revision != action.copied:
            raise Conflict("another revision than the decision saw", status=409)
        kept = target.record.replaced if target.record is not None else ""
        if action.replaced not in {kept, *target.history}:
            self.unrestored[action.run] = f"revision {action.replaced} is nowhere to be found"
            raise NothingToRestore(self.unrestored[action.run])
        copies = [copy for kind, copy in self.wrote if kind == "copy" and copy.run == action.run]
        assert action.replaced in {copy.replaces for copy in copies}, (
            "what is put back was replaced by no copy of that run"
        )
        self.wrote.append(("restore", action.target))
        target.revision, target.rolled_out = action.replaced, False

    def _forget(self, name: str) -> None:
        self.wrote.append(("forget", name))
        self._workload(name).record = None

    def _scale(self, action: ScaleWorkload) -> None:
        target = self._workload(action.target)
        if target.replicas != action.found:
            raise Conflict("somebody else has scaled it", status=409)
        self.promises.scaled(action)
        self.wrote.append(("scale", action))
        target.give(action.replicas)

    def _release(self, action: ReleaseReplicas) -> None:
        self.wrote.append(("release", action))
        self._workload(action.target).scaled = False

    def _stamp(self, raw: str) -> None:
        if self.request == raw:
            self.stamps += 1
            request = parse_request(raw)
            assert request is not None
            self.request = replace(request, id=f"stamp-{self.stamps}").dump()
            self.wrote.append(("stamp", raw))

    def _clear(self, raw: str) -> None:
        if self.request == raw:
            self.request = None
            self.wrote.append(("clear", raw))

    def _record(self, after: RolloutStatus) -> None:
        step = (after.run.number, after.step.index, after.step.started_at) if after.run and after.step else None
        if step != self.counted:
            self.counted, self.writes_in_step = step, 0
        match urgency(self.status, after, self.writes_in_step):
            case Urgency.NONE:
                self.settling = None
                return
            case Urgency.SETTLING:
                self.settling = self.settling or self.now
                if self.now < self.settling + SETTLE:
                    return
            case Urgency.NOW:
                pass
        self.settling = None
        patch = merge_patch(self.recorded, json.loads(json.dumps(after.dump(), allow_nan=False)))

        def write() -> None:
            self.recorded = apply_merge(self.recorded, patch)
            assert RolloutStatus.load(self.recorded) == RolloutStatus.load(after.dump())
            self.writes_in_step += 1
            self.wrote.append(("status", patch))

        try:
            self._attempt("status", write)
        except CanaryError:
            self.failing = True

    # -- everybody else -------------------------------------------------------------------------------------------

    def _store(self, name: str, document: Json) -> None:
        before = self.routes.get(name)
        document = duplicate(document)
        metadata = document["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if before is not None and before["spec"] != document["spec"]:
            metadata["generation"] = before["metadata"]["generation"] + 1
        self.routes[name] = document
        self._answer(name)

    def _store_changed(self, name: str, change: Callable[[Json], None], manager: str) -> None:
        document = duplicate(self.routes[name])
        change(document)
        document["metadata"]["managedFields"] = [
            {"manager": manager, "time": self.now.isoformat(), "fieldsV1": {"f:spec": {"f:rules": {}}}}
        ]
        self._store(name, document)

    def edit_route(self, name: str, change: Callable[[Json], None], manager: str = "argocd") -> None:
        """Somebody edits a route."""
        before = self.routes[name]
        self._store_changed(name, change, manager)
        self.promises.route_edited(name, before, self.routes[name])

    def weigh(self, stable: int, canary: int, name: str = "shop", rule_: int | None = None, by: str = "alice") -> None:
        """Somebody sets the weights of our pair in a route (in one rule, or in all)."""

        def change(document: Json) -> None:
            for pair in self.pairs_if_any(name):
                if rule_ is None or pair.rule == rule_:
                    refs = document["spec"]["rules"][pair.rule]["backendRefs"]
                    refs[pair.stable]["weight"], refs[pair.canary]["weight"] = stable, canary

        self.edit_route(name, change, by)

    def strip(self, name: str = "shop") -> None:
        """Somebody takes our annotation off a route."""
        self.edit_route(name, lambda document: document["metadata"]["annotations"].pop(RUN_ANNOTATION, None))

    def drop_pair(self, name: str = "shop") -> None:
        """Somebody takes the canary's backendRef out of every rule."""

        def change(document: Json) -> None:
            for rule_ in document["spec"]["rules"]:
                rule_["backendRefs"] = [ref for ref in rule_["backendRefs"] if ref["name"] != "c"]

        self.edit_route(name, change)

    def add_pair(self, name: str = "shop") -> None:
        """Somebody lists the canary again, without weight."""

        def change(document: Json) -> None:
            for rule_ in document["spec"]["rules"]:
                names = [ref["name"] for ref in rule_["backendRefs"]]
                if "s" in names and "c" not in names:
                    rule_["backendRefs"].append({"name": "c", "port": 80, "weight": 0})

        self.edit_route(name, change)

    def _answer(self, name: str) -> None:
        """The gateways look at a route, if they do."""
        if self.gateways is Gateways.LATE:
            return
        document = self.routes[name]
        generation = document["metadata"]["generation"]
        resolved = {"type": "ResolvedRefs", "status": "True", "observedGeneration": generation}
        if self.gateways is Gateways.REFUSING:
            resolved |= {"status": "False", "reason": "BackendNotFound", "message": "no such Service"}
        status = {
            "parents": [
                {
                    "parentRef": ref,
                    "controllerName": "example.org/gateway",
                    "conditions": [
                        {"type": "Accepted", "status": "True", "observedGeneration": generation},
                        dict(resolved),
                    ],
                }
                for ref in document["spec"]["parentRefs"]
            ]
        }
        self.routes[name] = {**document, "status": status}

    def refuse(self, name: str = "shop") -> None:
        """A gateway does not take a route any more that nobody has written meanwhile."""
        document = duplicate(self.routes[name])
        document["status"]["parents"][0]["conditions"][0] |= {"status": "False", "reason": "UnsupportedValue"}
        self.routes[name] = document

    def answer(self, gateways: Gateways | None = None) -> None:
        """The gateways look at every route now; from here on they behave like this."""
        keep = self.gateways if gateways is None else gateways
        self.gateways = keep if keep is not Gateways.LATE else Gateways.PROMPT
        for name in self.routes:
            self._answer(name)
        self.gateways = keep

    def hear(self, answer: bool | str, said: str = "") -> None:
        """The gate was asked now: it says yes or no, and in which words; or it could not be asked, for this reason."""
        if isinstance(answer, str):
            self.gate = Unreachable(self.now, answer, said)
        else:
            self.gate = Sample(float(answer), self.now, said=said)

    def measure(self, value: float | str = 0.0, check: str | None = None) -> None:
        """Every check (or one) is measured: a number, or one of the ways of not knowing."""
        for resolved in self.checks:
            if check in {None, resolved.name}:
                measurement = self._measurement(value)
                self.news.append((resolved.name, measurement))

    def _measurement(self, value: float | str) -> Measurement:
        match value:
            case "NoData":
                return NoData(self.now)
            case "Unreachable":
                return Unreachable(self.now, "Unreachable", "connection refused")
            case "Malformed":
                return Malformed(self.now, "SeveralSeries", "3 series")
            case str():
                return Sample(float(value), self.now)
            case _:
                return Sample(float(value), self.now)

    def pass_step(self, seconds: float = 12) -> Decision:
        """All is well: the checks are measured and pass, and the hold goes by."""
        self.wait(1)
        self.measure(0.0)
        self.run()
        return self.wait(seconds - 1)

    def ask(self, verb: str, *, id_: str = "", by: str = "alice", reason: str = "") -> None:
        """Somebody sets the request annotation; without an id it is a plain verb."""
        self.request = json.dumps({"id": id_, "verb": verb, "by": by, "reason": reason}) if id_ else verb

    def ask_as(self, user: str, verb: str, *groups: str, id_: str) -> None:
        """Somebody asks, and says who they are."""
        self.ask(verb, id_=id_, by=user)
        self.claimed = claim(user, groups, str(self.request))

    def revise(self, revision: str) -> None:
        """A new revision of the canary workload, rolled out at once."""
        role = self.stable if (self.memory or self.status).swapped else self.canary
        role.revision, role.rolled_out, role.ready = revision, True, 1

    def declare(self, **changes: Any) -> None:
        """Somebody edits the spec."""
        document = self.spec.model_dump(mode="json", by_alias=True, exclude_none=True) | changes
        self.spec = RolloutSpec.model_validate({key: value for key, value in document.items() if value is not None})
        self.generation += 1

    def misread(self, *, restart: bool = True, **nonsense: Any) -> RolloutSpec:
        """An edit that cannot be read: a controller that begins then knows what is left of it, one that goes on what was before. Returns that."""
        before = self.spec
        spec = before.model_dump(mode="json", by_alias=True, exclude_none=True) | nonsense
        seen = Rollout.of({"metadata": {"name": "shop", "namespace": NAMESPACE}, "spec": spec, "status": self.recorded})
        assert seen.spec is None
        self.unread = seen.problem
        self.generation += 1
        if restart:
            assert seen.rescued is not None
            self.spec = seen.rescued
            self.crash()
        return before

    def mend(self, spec: RolloutSpec) -> None:
        """The owner puts it right again."""
        self.spec, self.unread = spec, None
        self.generation += 1

    def delete(self) -> None:
        """Somebody deletes the Rollout."""
        self.deleting = True
        if not self.finalizer:
            self.gone = True

    def share(self, name: str = "shop") -> float:
        """The canary's largest share on a route, in percent."""
        return float(max(pair.weights.share for pair in self.pairs(name)))

    def copied(self, name: str = "shop") -> dict[str, float]:
        """Of what share of its requests each rule sends copies to the canary, in percent; of those that do."""
        pair = Pair.of(self.spec, NAMESPACE, swapped=(self.memory or self.status).swapped)
        return {key: float(share) for key, share in RouteReading(self.routes[name]).copied(pair).items()}

    def edit_filters(self, change: Callable[[list[Json]], Any], name: str = "shop", by: str = "alice") -> None:
        """Somebody edits the filters of every rule that has some."""

        def edit_them(document: Json) -> None:
            for rule_ in document["spec"]["rules"]:
                if "filters" in rule_:
                    change(rule_["filters"])

        self.edit_route(name, edit_them, by)

    def unmirror(self, name: str = "shop", by: str = "alice") -> None:
        """Somebody takes away whatever sends copies to the canary."""

        def change(filters: list[Json]) -> None:
            filters[:] = [item for item in filters if item["type"] != "RequestMirror" or _target(item) != "c"]

        self.edit_filters(change, name, by)

    def annotated(self, name: str = "shop") -> bool:
        return RUN_ANNOTATION in (self.routes[name]["metadata"].get("annotations") or {})

    @property
    def reasons(self) -> list[str]:
        return [tell.reason for tell in self.told]


def _target(item: Json) -> str:
    return str(item["requestMirror"]["backendRef"]["name"])


def apply_merge(document: Any, patch: Any) -> Any:
    """RFC 7386, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge(result.get(key), value)
    return result


def begun(**changes: Any) -> World:
    """A world whose canary has just got a new revision, and whose run has begun."""
    world = World(**changes)
    world.run()
    world.revise("b")
    world.run()
    return world


def in_preflight(**changes: Any) -> World:
    """A world whose canary has just got a new revision, which is not rolled out yet, so that its run waits before its first step."""
    world = World(**changes)
    world.run()
    world.revise("b")
    world.canary.rolled_out = False
    world.run()
    return world
