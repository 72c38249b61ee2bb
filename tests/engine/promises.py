"""A bystander who sees every decision and every write, keeps books of its own, and objects when a promise is broken."""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from canary.checks.judges import Answers, Judge
from canary.checks.judges.against import Against
from canary.decide.actions import ScaleWorkload, WriteRoute
from canary.decide.facts import Facts
from canary.decide.pausing import BY_POLICY
from canary.decide.scope import Decision, measuring
from canary.model.check_status import VerdictKind
from canary.model.measurement import Answered, Compared, Measured, Sample, Timed
from canary.model.rollout import OnFailure, Promotion, RouteKind
from canary.model.run_status import Outcome
from canary.model.scaling import AfterRun
from canary.model.status import Phase, RolloutStatus
from canary.model.steps import Step
from canary.routes.damaged import damaged_pairs
from canary.routes.filters import copied, mirrors, unmirrored
from canary.routes.intent import LEGACY_ANNOTATION, Intent, Mode, parse_intent, run_annotation
from canary.routes.key import Named
from canary.routes.pair import MAX_WEIGHT, Backend, Pair, Weights
from canary.routes.plan import SetWeights
from canary.routes.rules import RulePair, every_pair

if TYPE_CHECKING:
    from world import World

Json = dict[str, Any]
RUN_ANNOTATION = run_annotation("shop")
NAMESPACE = "team"


def duplicate(document: Json) -> Json:
    """A document that shares nothing with the one given. `copy.deepcopy` was a tenth of what these tests take."""
    whole: Json = marshal.loads(marshal.dumps(document))
    return whole


def spot(named: Named) -> str:
    """How a route is called in a world: by its name, and those of another kind than HTTPRoute by `kind/name`."""
    return named.name if named.kind is RouteKind.HTTP else f"{named.kind}/{named.name}"


def of_spot(called: str) -> tuple[RouteKind, str]:
    kind, _, name = called.rpartition("/")
    return RouteKind(kind or RouteKind.HTTP), name


ALL = ""
"""Every rule that no step names."""

OPT_IN = "x-opt-in"
"""The header that every `match` of a test asks for, and no rule but those that runs add."""
ADDED = "added"
"""Stands for these rules where a person took them away."""

Given = dict[str, Fraction]
"""Shares by the name of a rule, and of ALL others."""


def of(shares: Given, rule: str) -> Fraction:
    """The share of a rule."""
    return shares.get(rule, shares[ALL])


class Promises:
    """Books kept from what happens, not from what the engine says about itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failed: set[int] = set()
        self.allowed: dict[int, Given] = {}
        """The largest shares that each run has had evidence for."""
        self.reached: dict[tuple[int, int], datetime] = {}
        self.heard: dict[str, tuple[datetime, VerdictKind]] = {}
        self.lowered: set[tuple[str, str]] = set()
        self.over: dict[tuple[str, str], Fraction] = {}
        """What somebody has resumed over, by route and rule, before the run gives that rule more: no less than that is no other word."""
        self.put_back: set[int] = set()
        """Runs that have copied to stable, and somebody has put something else there since."""
        self.may_copy: set[tuple[int, int]] = set()
        """Which steps of which runs may mirror or add rules: those that were come to on evidence."""
        self.last_heard: dict[str, Measured] = {}
        self.mirrored: set[tuple[str, str]] = set()
        """Which rules of which routes a run has added a mirror to."""
        self.gave: dict[str, dict[str, Weights]] = {}
        self.sent: dict[str, dict[str, Fraction]] = {}
        """Which rules of which routes a run mirrors, and how much of each, in per cent."""
        self.intents: dict[str, Intent] = {}
        self.before_us: dict[str, Json] = {}
        self.written: dict[tuple[int, str], Pair] = {}
        """Which run has written which route, and by which pair."""
        self.idle = False
        """Whether the routes have sent the canary nothing at some time since its workload was edited."""
        self.used: dict[tuple[str, int], int] = {}
        """Which step of a run a `promote` has approved, by its id: one each."""

    # -- decisions ------------------------------------------------------------------------------------------------

    def decided(self, memory: RolloutStatus, facts: Facts, decision: Decision) -> None:
        self._hear(facts)
        after = decision.status
        live = [route for route in facts.routes if route.exists and not route.problem]
        self.idle = self.idle or not any(route.share or self._extra(spot(route)) for route in live)
        self._new_run(memory, after)
        self._resumed(memory, after)
        self._arrive(facts, memory)
        self._arrive(facts, after)
        self._nothing_untold(facts, decision)
        self._advance(memory, facts, decision)
        self._fail_is_final(memory, facts, decision)
        self._rollback_at_once(memory, facts, decision)
        self._nothing_left(memory, facts, decision)

    def _hear(self, facts: Facts) -> None:
        for name, measurement in facts.measurements:
            if name not in {check.name for check in facts.checks}:
                continue  # of a check that is declared no more
            if name in self.world.lost:
                continue  # nobody knows what it is measured by
            before = self.heard.get(name)
            # A look is evidence of the step in which it began.
            at = measurement.since if isinstance(measurement, Compared | Timed | Answered) else measurement.at
            # Of two of the same moment the one that came later counts; what is there anew in every look does once.
            if before is None or at > before[0] or (at == before[0] and measurement != self.last_heard[name]):
                self.last_heard[name] = measurement
                self.heard[name] = (at, self._verdict(name, measurement))

    def _verdict(self, name: str, measurement: Measured) -> VerdictKind:
        check = next(check for check in self.world.checks if check.name == name)
        if isinstance(check.judge, Against):  # whether it proves anything is not in these books
            seen = isinstance(measurement, Compared | Timed) and measurement.canary > 0 and measurement.stable > 0
            return VerdictKind.PASS if seen else VerdictKind.UNKNOWN
        if isinstance(check.judge, Answers):
            answered = isinstance(measurement, Answered) and measurement.compared > 0
            return VerdictKind.PASS if answered else VerdictKind.UNKNOWN
        assert check.judge.maximum is not None, "the books only know checks with a maximum"
        if not isinstance(measurement, Sample) or not abs(measurement.value) < float("inf"):
            return VerdictKind.UNKNOWN
        return VerdictKind.PASS if measurement.value <= float(check.judge.maximum) else VerdictKind.FAIL

    def _new_run(self, memory: RolloutStatus, after: RolloutStatus) -> None:
        number = after.run.number if after.run else 0
        if number not in self.allowed:
            self.allowed[number] = {ALL: Fraction(0)}
            self.heard.clear()  # what was said about another run says nothing about this one
            self.over.clear()
            if not memory.active:  # somebody asked, or a revision came after the end: what was lowered was another run
                self.lowered.clear()

    def _resumed(self, memory: RolloutStatus, after: RolloutStatus) -> None:
        last, before = after.last_request, memory.last_request
        done = last is not None and last.verb == "resume" and last.words.startswith("done")
        if done and last is not None and (before is None or before.id != last.id):
            for name in {name for name, _ in self.lowered}:
                document = self.world.routes[name]
                shares = {_rule(document, pair): pair.weights.share for pair in self._pairs(name, document)}
                self.over |= {(name, rule): share for rule, share in shares.items() if (name, rule) in self.lowered}
            self.lowered.clear()
            self.put_back.clear()

    def _arrive(self, facts: Facts, after: RolloutStatus) -> None:
        """The first moment at which every gateway serves the step's share."""
        if not after.active or after.run is None or after.step is None or after.run.outcome is not None:
            return
        shares = self._shares(after.step.index)
        there = all(
            route.exists
            and not route.problem
            and route.acceptance.accepted
            and all(rule.weights.share == of(shares, rule.key) for rule in route.rules)
            for route in facts.routes
            if route.declared
        )
        if there:
            self.reached.setdefault((after.run.number, after.step.index), facts.now)

    def _shares(self, index: int) -> Given:
        given = {ALL: Fraction(0)}
        for step in self.world.spec.steps[:index]:
            given |= {ALL: step.weight.percent} if step.weight is not None else {}
            given |= {name: share.percent for name, share in step.named.items()}
        return given

    def _nothing_untold(self, facts: Facts, decision: Decision) -> None:
        """Nothing is given more, of users, copies or opted-in requests, while nobody can tell what it is."""
        canary = facts.canary
        if not (facts.unseen_canary or (canary and canary.unknown)):
            return
        seen = {route.key: route for route in facts.routes}
        for action in decision.actions:
            if isinstance(action, WriteRoute):
                route = seen[action.key]
                shares = {rule.key: rule.weights.share for rule in route.rules}
                more = [key for key, weights in action.plan.weights.items() if weights.share > shares.get(key, 0)]
                more += [key for key, said in action.plan.mirrors.items() if said.share > route.copied.get(key, 0)]
                more += [key for key, said in action.plan.added.items() if said.there and not route.added.said.get(key)]
                assert not more, f"{route.label} gives more to what nobody knows: {more}"

    def _advance(self, memory: RolloutStatus, facts: Facts, decision: Decision) -> None:
        """Promise 2: evidence for every step upward."""
        after = decision.status
        if not (memory.active and after.active and memory.run and after.run and memory.step and after.step):
            return
        number = after.run.number
        if number != memory.run.number or after.run.outcome is Outcome.ROLLED_BACK:
            return
        on_routes = [r.intent.step for r in facts.routes if r.intent is not None and r.intent.run == number]
        before = max([memory.step.index, *on_routes])
        self._copy_on_evidence(before, memory, facts, after)
        swap = self.world.spec.promotion_mode is Promotion.SWAP and (after.run.outcome is None or after.run.swap)
        swapping = swap and after.phase is Phase.PROMOTING
        shares = {ALL: Fraction(100)} if swapping else self._shares(after.step.index)
        allowed = self.allowed[number]
        names = shares.keys() | allowed.keys()
        if all(of(shares, name) <= of(allowed, name) for name in names):
            return
        objection = self._objection(before, facts, memory, after)
        assert not objection, f"run {number} goes from step {before} up to {shares}, although {objection}"
        self.allowed[number] = {name: max(of(shares, name), of(allowed, name)) for name in names}

    def _copy_on_evidence(self, before: int, memory: RolloutStatus, facts: Facts, after: RolloutStatus) -> None:
        """Promise 2 for copies, and for requests that opt in: their step is come to like one with more weight."""
        assert after.run is not None
        assert after.step is not None
        step = (after.run.number, after.step.index)
        if after.run.outcome is not None or not self._extras(after.step.index) or step in self.may_copy:
            return
        if before >= after.step.index:
            return  # the routes say so already: then nothing is added by it, which `_copies` looks after
        objection = self._objection(before, facts, memory, after)
        assert not objection, f"run {step[0]} goes from step {before} to step {step[1]}, although {objection}"
        self.may_copy.add(step)

    def _extras(self, index: int) -> bool:
        steps = self.world.spec.steps
        return 1 <= index <= len(steps) and (steps[index - 1].mirror or steps[index - 1].match) is not None

    def _objection(self, index: int, facts: Facts, memory: RolloutStatus, after: RolloutStatus) -> str:
        assert after.run is not None
        number, full = after.run.number, after.run.full
        if any(not r.acceptance.accepted or not r.exists or r.problem for r in facts.routes if r.declared):
            return "a gateway has not accepted"
        if facts.recorded.run != number:
            return "the run is not on record"
        if not facts.finalizer:
            return "nothing keeps the Rollout from vanishing"
        canary = facts.canary
        if facts.unseen_canary or (canary is not None and (canary.ready == 0 or canary.unknown)):
            return "no replica of the canary is ready, or nobody can tell what it runs"
        if index == 0:
            judging = [check for check in facts.checks if not check.settings.dry_run]
            jumps = after.step is not None and after.step.index > 1 and judging and not after.run.ignore_unknown
            return "nothing has been measured" if jumps and memory.run != after.run else ""
        reached = self.reached.get((number, index))
        if reached is None:
            return "the step was never reached"
        step = self.world.spec.steps[index - 1]
        if not full and (objection := self._too_soon(index, step, reached, facts)):
            return objection
        approved = memory.step is not None and memory.step.approved
        asked = facts.request.id if facts.request is not None and facts.request.verb == "promote" else ""
        once = self.used.setdefault((asked, number), index) == index
        if step.approval is not None and not (approved or (asked and once) or full):
            return "nobody approved"
        if not any(self._shares(index).values()) and not self._extras(index):
            return ""
        for check in facts.checks:
            at, verdict = self.heard.get(check.name, (None, VerdictKind.UNKNOWN))
            if check.settings.dry_run:
                continue
            if verdict is VerdictKind.FAIL:
                return f"check {check.name} fails"
            if full or self._says_nothing(check.judge, index):
                continue
            lag = check.judge.lag.delta if isinstance(check.judge, Against | Answers) else timedelta(0)
            if at is None or at < reached + self.world.settle + lag or verdict is not VerdictKind.PASS:
                return f"check {check.name} has not passed in this step, with the gateways settled"
        return ""

    def _too_soon(self, index: int, step: Step, reached: datetime, facts: Facts) -> str:
        """What of a step is not over yet, or closed."""
        if step.hold is not None and facts.now < reached + step.hold.delta and not self._early(index, facts):
            return "its hold is not over"
        if not self._gate_open(step, reached, facts):
            return "its gate has not said yes at this step, within one interval, to who has the run now"
        return ""

    def _gate_open(self, step: Step, reached: datetime, facts: Facts) -> bool:
        """Whether the system that a step asks has said yes at this step, within one interval, and in this life."""
        if step.gate is None or step.gate.http is None:
            return True
        found, life = self.world.gate, self.world.since or facts.now
        yes = isinstance(found, Sample) and found.value == 1 and found.at >= max(reached, life)
        return yes and found is not None and facts.now - found.at <= step.gate.pause

    def _says_nothing(self, judge: Judge, index: int) -> bool:
        """Whether a comparison has nothing to compare at a step."""
        if isinstance(judge, Answers):
            return not self._compares_answers(index)
        return isinstance(judge, Against) and self._incomparable(index)

    def _compares_answers(self, index: int) -> bool:
        """Whether a step mirrors to a comparer."""
        mirror = self.world.spec.steps[index - 1].mirror
        return mirror is not None and mirror.comparer is not None

    def _early(self, index: int, facts: Facts) -> bool:
        """Whether a hold may end early: those who ask for it have seen enough themselves, in this step and in this life."""
        reached = self.reached[facts.recorded.run, index]
        asked = [check for check in facts.checks if getattr(check.judge, "promote_early", False)]
        asked = [check for check in asked if not check.settings.dry_run]
        for check in asked:
            assert isinstance(check.judge, Against)
            since, wait = self.world.good.get(check.name), self.world.settle + check.judge.lag.delta
            life = self.world.since or facts.now
            if since is None or since < max(reached, life) + wait or facts.now < since + check.settings.interval.delta:
                return False
        return bool(asked) and not self._extras(index) and not self._incomparable(index)

    def _incomparable(self, index: int) -> bool:
        """Whether stable has no traffic, users choose the canary by themselves, or a comparer asks both as often as it likes."""
        if self._compares_answers(index):
            return True
        shares = self._shares(index)
        chosen = self.world.spec.steps[index - 1].match is not None or len(set(shares.values())) > 1
        return chosen or shares[ALL] == 100

    def _fail_is_final(self, memory: RolloutStatus, facts: Facts, decision: Decision) -> None:
        """Promise 3: a failure beyond the limit is acted upon in the very decision that hears of it."""
        if facts.deleting or not measuring(self.world.spec, memory):
            return
        if memory.paused is not None and memory.paused.reason in BY_POLICY:
            return
        live = [route for route in facts.routes if route.exists]
        if all(route.share == 0 for route in live) and not any(self._served(spot(route)) for route in live):
            return  # what a check says then is not about anything that the canary gets
        ahead = [r.intent.run for r in facts.routes if r.intent is not None]
        if memory.run is None or max(ahead, default=0) > memory.run.number:
            return
        for check in facts.checks:
            if check.name in self.world.lost:
                continue  # nobody knows what it is measured by
            before = memory.check(check.name)
            failures = before.failures if before else 0
            last = before.measured_at if before else None
            verdict = VerdictKind.UNKNOWN
            window = before.recent if before and set(before.recent) <= set(".x") else ""  # else it was forged
            for name, measurement in facts.measurements:
                if name == check.name and (last is None or measurement.at > last):
                    last, verdict = measurement.at, self._verdict(name, measurement)
                    failures = {VerdictKind.PASS: 0, VerdictKind.FAIL: failures + 1}.get(verdict, failures)
                    window += {VerdictKind.PASS: ".", VerdictKind.FAIL: "x"}.get(verdict, "")
            if check.settings.failures is None:
                too_many = verdict is VerdictKind.FAIL and failures > check.settings.failure_limit
            else:
                most, of = (int(word) for word in check.settings.failures.split(" of "))
                too_many = verdict is not VerdictKind.UNKNOWN and window[-of:].count("x") >= most
            if not too_many or check.settings.dry_run:
                continue
            run = decision.status.run
            assert run is not None
            if self.world.spec.on_failure is OnFailure.PAUSE:
                assert decision.phase is Phase.PAUSED or run.outcome, f"a failed check must pause: {decision}"
            else:
                assert run.outcome, f"a failed check must end the run in the same decision: {decision}"

    def _rollback_at_once(self, memory: RolloutStatus, facts: Facts, decision: Decision) -> None:
        run = decision.status.run
        if run is None or run.outcome is not Outcome.ROLLED_BACK or not decision.status.active:
            return
        fresh = memory.run is None or memory.run.number != run.number or memory.run.outcome is None
        if fresh:
            writes = {action.key: action for action in decision.actions if isinstance(action, WriteRoute)}
            for route in facts.routes:
                if run.plan != self.world.spec.plan_hash() and (run.number, spot(route)) not in self.written:
                    continue  # who is the canary there, the run has not said
                if route.exists and (route.share > 0 or (self._extra(spot(route)) and not route.problem)):
                    assert route.key in writes, f"{route.label} is not written in the tick of the verdict"
        for action in decision.actions:
            if isinstance(action, WriteRoute):
                assert all(weights.share == 0 for weights in action.plan.weights.values()), (
                    f"a rollback gives: {action}"
                )
                assert all(said.share == 0 for said in action.plan.mirrors.values()), f"a rollback mirrors: {action}"
                assert not any(said.there for said in action.plan.added.values()), f"a rollback adds a rule: {action}"
        self.failed.add(run.number)

    def _nothing_left(self, memory: RolloutStatus, facts: Facts, decision: Decision) -> None:
        run = decision.status.run
        ended = run is not None and run.outcome is not None and memory.active and not decision.status.active
        if ended and not facts.deleting:
            assert run is not None
            self._clean(run.number, swapped=decision.status.swapped != memory.swapped)

    def _clean(self, number: int, *, swapped: bool) -> None:
        """Promise 1: no annotation of ours, and all of the pair's traffic on stable."""
        declared = {spot(ref) for ref in self.world.spec.routes}
        for name, document in self.world.routes.items():
            annotations = document["metadata"].get("annotations") or {}
            assert RUN_ANNOTATION not in annotations, f"{name} still carries our annotation"
            assert not self._copying(name), f"{name} still sends copies to the canary, which a run has added"
            assert not opted(document), f"{name} still has a rule that a run has added"
            for pair in self._moved(number, name):
                share = pair.weights.share
                if pair.others and not pair.weights.total:
                    continue  # somebody has given other backends all of it
                if name not in declared and self.world.spec.promotion_mode is Promotion.SWAP:
                    continue  # where that one's traffic belongs depends on when it was let go
                if swapped and (name, _rule(document, pair)) in self.lowered:
                    continue  # promise 5: a Swap that is won raises nothing against a person
                assert share == (100 if swapped else 0), f"{name}/{pair.key} is left at {float(share)} %"
            if (number, name) in self.written and not swapped and not self._let_go(name):
                self._nothing_in_the_ruins(name, document)

    def _let_go(self, name: str) -> bool:
        """Whether the run has put a route back in the middle of it, and left it to its owner: what they give the canary then is theirs."""
        status = self.world.memory or self.world.status
        remembered = status.route(*of_spot(name))
        return status.active and remembered is not None and not remembered.owned

    def _on_record(self, name: str) -> bool:
        """Whether the weights from before the run are on record for a route: it gives back those, whatever its owner has put in their place since."""
        status = self.world.memory or self.world.status
        remembered = status.route(*of_spot(name))
        return status.active and remembered is not None and remembered.owned

    def _nothing_in_the_ruins(self, name: str, document: Json) -> None:
        """A rule that a run has written gives the canary nothing afterwards, whatever somebody has made of it."""
        swapped = (self.world.memory or self.world.status).swapped
        for pair in damaged_pairs(document, Pair.of(self.world.spec, NAMESPACE, swapped=swapped)):
            ours = _rule(document, pair) in self.gave.get(name, {})
            assert not (ours and pair.weights.canary), f"{name}/{pair.key} is left with weight {pair.weights.canary}"

    # -- writes ---------------------------------------------------------------------------------------------------

    def route_written(self, action: WriteRoute, before: Json, after: Json) -> None:
        name = spot(action)
        self._rules(action, before, after)
        before, after = without_opted(before), without_opted(after)
        # Of the pair that is written, which an edit of the spec may have made another one than is declared.
        old, new = (_given(document, action.plan.pair) for document in (before, after))
        broken = [pair for key, pair in old.items() if pair.damaged and key in action.plan.weights]
        self._copies(action, before, after)
        target = action.plan.pair.copied_to
        instead = any(isinstance(entry, SetWeights) and entry.instead for entry in action.plan.entries)
        masked = (
            _masked(before, old.values(), target, broken, stands_in=instead),
            _masked(after, new.values(), target, broken, stands_in=instead),
        )
        assert masked[0] == masked[1], f"{name}: something else was touched"
        _listed(name, before, after, action.plan.pair)
        for key, pair in new.items():
            assert max(pair.weights.stable or 0, pair.weights.canary or 0) <= MAX_WEIGHT
            if pair.others and name in self.before_us and not pair.damaged:
                assert pair.weights.total == old[key].weights.total, "a third backend lost or won traffic"
            if pair.weights.share > old[key].weights.share:
                assert old[key].weights.total or pair.damaged, f"{name}/{pair.key} had nothing to divide"
                self._raise(action, _rule(after, pair), pair)
            if old[key].others and not old[key].weights.total:
                assert not pair.weights.total, f"{name}/{pair.key} is given what other backends had"
        if action.intent is None:
            owned = self.before_us.pop(name, None)
            self.intents.pop(name, None)
            swapping = any(pair.weights.share for pair in new.values())
            if owned is not None and not swapping:
                assert after["spec"] == owned, f"{name} is not what it was before the run"
            memory = self.world.memory or self.world.status
            if memory.active and memory.run is not None and memory.run.outcome is None:
                # Let go of in the middle of a run: what its owner gives the canary from now on is no share of the run's.
                self.written.pop((memory.run.number, name), None)
        else:
            self.written[action.intent.run, name] = action.plan.pair
            fresh = name not in self.intents and not self._on_record(name)
            if fresh and self._at_rest(old) and not any(pair.damaged for pair in old.values()):
                self.before_us[name] = duplicate(before["spec"])
            self.intents[name] = action.intent
            said = action.intent.weights
            self.gave[name] = {_rule(after, pair): said[key] for key, pair in new.items() if key in said}
            said_of = action.intent.mirrors
            self.sent[name] = {_rule(after, pair): said_of[key].share for key, pair in new.items() if key in said_of}

    def _rules(self, action: WriteRoute, before: Json, after: Json) -> None:
        """Rules for requests that opt in: added last and on evidence alone, by nobody whose run has failed, against nobody's hand."""
        intent, name = action.intent, spot(action)
        working = [rule["matches"] for rule in opted(before) if rule["backendRefs"]]
        new = [rule for rule in opted(after) if rule["backendRefs"] and rule["matches"] not in working]
        if not new:
            return
        canary = action.plan.pair.canary
        assert intent is not None, f"{name}: a rule is added at the end"
        assert intent.mode is Mode.STEP, f"{name}: a rule is added by {intent.mode}"
        assert intent.run not in self.failed, f"{name}: a rule is added in failed run {intent.run}"
        assert (intent.run, intent.step) in self.may_copy, f"{name}: step {intent.step} may not add a rule"
        assert (name, ADDED) not in self.lowered, f"{name}: a rule is added against a person"
        there = [rule["matches"] for rule in opted(before)]
        appended = [rule for rule in new if rule["matches"] not in there]
        assert not appended or after["spec"]["rules"][-len(appended) :] == appended, f"{name}: not the last rules"
        for rule in new:
            (ref,) = rule["backendRefs"]
            assert canary.is_named_by(ref, NAMESPACE), f"{name}: a rule that is added is for the canary alone"
            assert intent.added, f"{name}: nothing is on record of it"

    def _copies(self, action: WriteRoute, before: Json, after: Json) -> None:
        """Filters: nobody's but mirrors to the canary, or to its comparer, are touched, and those only where a run has added one."""
        target, intent = action.plan.pair.copied_to, action.intent
        for index, (old, new) in enumerate(zip(before["spec"]["rules"], after["spec"]["rules"], strict=True)):
            rule, where = (spot(action), _rule_at(after, index)), f"{spot(action)}/{index}"
            was, now = (copied(found, target, NAMESPACE) for found in (old, new))
            if now > was:
                assert intent is not None, f"{where}: a mirror is added at the end"
                assert intent.mode is Mode.STEP, f"{where}: a mirror is added by {intent.mode}"
                assert intent.run not in self.failed, f"{where}: a mirror is added in failed run {intent.run}"
                assert (intent.run, intent.step) in self.may_copy, f"{where}: step {intent.step} may not mirror"
                assert rule not in self.lowered, f"{where}: a mirror is added against a person"
                assert was == 0 or rule in self.mirrored, f"{where}: it mirrored before"
                if was == 0:
                    assert mirrors(new, target, NAMESPACE) == (len(new["filters"]) - 1,), (
                        f"{where}: not the last filter"
                    )
                self.mirrored.add(rule)
            elif now < was:
                assert rule in self.mirrored, f"{where}: somebody else's mirror is taken away"

    def _extra(self, name: str) -> bool:
        """Whether the canary gets copies or requests that opt in, by what a run has added."""
        return self._copying(name) or bool(opted(self.world.routes[name]))

    def _served(self, name: str) -> bool:
        """The same, as it is served: a rule that a run has added, and whose backend somebody took out, sends nothing to anybody."""
        return self._copying(name) or any(rule["backendRefs"] for rule in opted(self.world.routes[name]))

    def _copying(self, name: str) -> bool:
        """Whether a route sends copies to the canary in a rule that a run has added a mirror to."""
        document = self.world.routes[name]
        pair = Pair.of(self.world.spec, NAMESPACE, swapped=(self.world.memory or self.world.status).swapped)
        document = without_opted(document)
        return any(
            (name, _rule_at(document, index)) in self.mirrored and copied(rule, pair.copied_to, NAMESPACE)
            for index, rule in enumerate(document["spec"]["rules"])
        )

    @staticmethod
    def _at_rest(pairs: dict[str, RulePair]) -> bool:
        return all(pair.weights.share == 0 for pair in pairs.values())

    def _raise(self, action: WriteRoute, rule: str, pair: RulePair) -> None:
        intent, where = action.intent, f"{spot(action)}/{pair.key}"
        share = float(pair.weights.share)
        assert intent is not None, f"{where} is raised to {share} % at the end"
        assert intent.mode is not Mode.ROLLBACK, f"{where} is raised to {share} % by a rollback"
        assert intent.run not in self.failed, f"{where} is raised to {share} % in failed run {intent.run}"
        assert (spot(action), rule) not in self.lowered, f"{where} is raised to {share} % against a person"
        self.over.pop((spot(action), rule), None)
        scale = self.world.spec.scale
        if scale is not None and intent.mode is Mode.STEP:
            need = scale.replicas(pair.weights.share, self.world.stable.replicas)
            ready = self.world.canary.ready
            assert ready >= need, f"{where} is raised to {share} %, which takes {need} replicas: {ready} are ready"
        allowed = of(self.allowed.get(intent.run, {ALL: Fraction(0)}), pair.key)
        assert pair.weights.share <= allowed, f"{where} is raised to {share} % where {float(allowed)} is allowed"

    def route_edited(self, name: str, before: Json, after: Json) -> None:
        """Somebody else wrote the route."""
        if before["spec"] != after["spec"]:
            self.before_us.pop(name, None)
        self._copied_rules(name, before, after)
        intent = self.intents.get(name)
        memory = self.world.memory or self.world.status
        remembered = memory.route(*of_spot(name))
        marked = parse_intent((after["metadata"].get("annotations") or {}).get(RUN_ANNOTATION)) is not None
        if intent is None or intent.mode is Mode.ROLLBACK or memory.run is None or memory.run.number != intent.run:
            return  # what an earlier run wrote is of no interest to this one
        if not marked and not (remembered is not None and remembered.owned):
            return  # the controller had not seen its own write yet: nothing in the cluster tells what it was
        if before["spec"] == after["spec"]:
            return
        if any(said.there for said in intent.added.values()):
            working = [rule for rule in opted(after) if rule["backendRefs"]]
            gone = len(working) < sum(said.there for said in intent.added.values())
            (self.lowered.add if gone else self.lowered.discard)((name, ADDED))
        for pair in self._pairs(name, after) if intent.pair is None else every_pair(after, intent.pair):
            rule = _rule(after, pair)
            wrote = self.gave[name].get(rule)
            copies = self.sent[name].get(rule, 0)
            target = (intent.pair or Pair.of(self.world.spec, NAMESPACE)).copied_to
            less = copied(pair.document, target, NAMESPACE) < copies
            most = min(wrote.share, self.over.get((name, rule), wrote.share)) if wrote is not None else 0
            if wrote is not None and (pair.weights.share < most or less):
                self.lowered.add((name, rule))
            else:
                self.lowered.discard((name, rule))

    def _copied_rules(self, name: str, before: Json, after: Json) -> None:
        """Who makes a rule from one that a run mirrors has the run's filter in it."""
        target = Pair.of(self.world.spec, NAMESPACE).copied_to
        old = {_rule_at(before, index): rule for index, rule in enumerate(before["spec"]["rules"])}
        shares = {copied(rule, target, NAMESPACE) for key, rule in old.items() if (name, key) in self.mirrored}
        for index, rule in enumerate(after["spec"]["rules"]):
            if _rule_at(after, index) not in old and copied(rule, target, NAMESPACE) in shares - {0}:
                self.mirrored.add((name, _rule_at(after, index)))

    def scaled(self, action: ScaleWorkload) -> None:
        """Replicas: only of the canary, up for a run under way, down to none only once nothing is sent to it."""
        world = self.world
        assert world.spec.scale is not None, "nobody asked for that"
        assert action.target != world.stable.name, "stable is never scaled"
        former = action.target != world.canary.name
        if former:
            assert action.replicas == 0, "what is the canary no more is made larger"
            given = [scale.replicas for kind, scale in world.wrote if kind == "scale" and scale.target == action.target]
            mine = world.former[action.target].scaled or action.found in given[-1:]
            assert mine, "what is on record as somebody else's is scaled"
            assert world.spec.scale.after is AfterRun.ZERO, "it was to keep its replicas"
            assert self.idle, "traffic first: the routes have sent something to the canary all the time"
            return
        assert not world.scaling.autoscaler, f"{world.scaling.autoscaler} scales it"
        memory = world.memory or world.status
        if action.replicas > action.found:
            assert memory.active or world.status.active, "scaled up without a run"
            return
        assert action.replicas == 0, "a canary is made smaller in a run"
        for name in world.routes:
            shares = [pair.weights.share for pair in self._pairs(name)]
            assert not any(shares), f"{name} sends traffic to what is scaled to 0"
            assert not self._extra(name), f"{name} sends copies or opted-in requests to what is scaled to 0"

    def vanished(self) -> None:
        memory = self.world.memory or self.world.status
        run = memory.run
        won = run is not None and run.outcome is Outcome.SUCCEEDED
        if not memory.swapped and not (won and self.world.spec.promotion_mode is Promotion.SWAP):
            self._clean(run.number if run is not None else 0, swapped=False)

    def crashed(self) -> None:
        """What is nowhere in the cluster cannot be known any more."""
        status = self.world.status
        recorded = status.run
        known = {recorded.number} if recorded is not None and recorded.outcome is Outcome.ROLLED_BACK else set()
        for document in self.world.routes.values():
            intent = parse_intent((document["metadata"].get("annotations") or {}).get(RUN_ANNOTATION))
            if intent is not None and intent.mode is Mode.ROLLBACK:
                known.add(intent.run)
        ended = {run for run in self.failed if recorded is not None and run < recorded.number}
        self.failed &= known | ended
        for name, key in tuple(self.lowered):
            remembered = status.route(*of_spot(name))
            annotations = self.world.routes[name]["metadata"].get("annotations") or {}
            if RUN_ANNOTATION not in annotations and not (remembered is not None and remembered.owned):
                self.lowered.discard((name, key))

    # -- parts ----------------------------------------------------------------------------------------------------

    def _moved(self, number: int, name: str) -> tuple[RulePair, ...]:
        """The pairs of a route as a run has moved them, whoever is declared to be who now; of one that it has not written none."""
        wrote, world = self.written.get((number, name)), self.world
        if wrote is None:
            return ()  # whatever people wrote there, this run has not
        now = Pair.of(world.spec, NAMESPACE, swapped=(world.memory or world.status).swapped)
        if (wrote.stable, wrote.canary) == (now.stable, now.canary):
            return self._pairs(name)
        return every_pair(world.routes[name], wrote)

    def _pairs(self, name: str, document: Json | None = None) -> tuple[RulePair, ...]:
        return self.world.pairs_if_any(name, document)


def _rule(document: Json, pair: RulePair) -> str:
    """Which rule it is, wherever it stands and whatever it is called: what it matches, and the how manieth it is of those that match that."""
    return _rule_at(document, pair.rule)


def opted(document: Json) -> list[Json]:
    """The rules of a route that are for requests that opt in."""
    return [rule for rule in document["spec"]["rules"] if _asks_to_opt_in(rule)]


def without_opted(document: Json) -> Json:
    """A route without these rules."""
    rules = [rule for rule in document["spec"]["rules"] if not _asks_to_opt_in(rule)]
    return {**document, "spec": {**document["spec"], "rules": rules}}


def _asks_to_opt_in(rule: Json) -> bool:
    """An `owner` on it tells this world that somebody else has made it."""
    return "owner" not in rule and any(
        header["name"] == OPT_IN for match in rule.get("matches") or () for header in match.get("headers") or ()
    )


def _rule_at(document: Json, index: int) -> str:
    matches = [json.dumps(rule.get("matches")) for rule in document["spec"]["rules"]]
    return f"{matches[index]} {matches[:index].count(matches[index])}"


def _given(document: Json, both: Pair) -> dict[str, RulePair]:
    """Every rule that gives the canary something, by key."""
    return {pair.key: pair for pair in (*every_pair(document, both), *damaged_pairs(document, both))}


def _listed(name: str, before: Json, after: Json, pair: Pair) -> None:
    """Users are sent to nothing that a rule does not list where it lists the same Service; what is listed of another port is not the pair's."""
    for old, new in zip(before["spec"]["rules"], after["spec"]["rules"], strict=False):
        there = [{**ref, "weight": 0} for ref in old.get("backendRefs") or ()]
        services = {(ref["name"], ref.get("namespace")) for ref in there}
        for ref in new.get("backendRefs") or ():
            if {**ref, "weight": 0} not in there and (old.get("matches"), old.get("name")) == (
                new.get("matches"),
                new.get("name"),
            ):
                assert (ref["name"], ref.get("namespace")) not in services, f"{name}: {ref} is not what the rule lists"
                assert pair.stable.is_named_by(ref, NAMESPACE), f"{name}: {ref} is listed"


def _masked(
    document: Json, pairs: Iterable[RulePair], target: Backend, broken: Iterable[RulePair], *, stands_in: bool = False
) -> str:
    """Everything that is none of our business, byte for byte; of filters, all but a run's own mirrors: `_copies` looks after those.

    `stands_in`: what has stable's place in a rule gets its weight, since stable is not there any more.
    """
    document = duplicate(document)
    for rule in document["spec"]["rules"]:
        rule["filters"] = unmirrored(rule, target, NAMESPACE).get("filters") or []
    mended = {pair.rule for pair in broken}
    for pair in pairs:
        refs = document["spec"]["rules"][pair.rule]["backendRefs"]
        if pair.rule in mended:  # of these it is known which are the pair's, and stable may have come back
            refs[:] = [ref for ref in refs if ref["name"] not in {"s", "c"}]
            for ref in refs if stands_in else ():
                ref.pop("weight", None)
        if pair.damaged or pair.rule in mended:
            continue
        refs[pair.stable].pop("weight", None)
        refs[pair.canary].pop("weight", None)
    annotations = document["metadata"].get("annotations")
    if annotations is not None:
        annotations.pop(RUN_ANNOTATION, None)
        annotations.pop(LEGACY_ANNOTATION, None)
    if not annotations:
        document["metadata"].pop("annotations", None)
    for moving in ("resourceVersion", "generation", "managedFields"):
        document["metadata"].pop(moving, None)
    document.pop("status")
    return json.dumps(document)
