"""What is doubtful about a plan, in sentences that say what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.judges.slower import Slower
from canary.checks.judges.words import TIMES
from canary.model.rollout import RolloutSpec
from canary.rehearse.plan import Compared, Plan, Sampled
from canary.view.words import counted, listing, span


def warnings(found: Plan) -> tuple[str, ...]:
    """What is doubtful, in sentences that say what to do."""
    return (
        *(f"check {name}: {why}" for name, why in found.unknown.items()),
        *_of_the_plan(found),
        *(line for one in found.compared for line in _of_comparison(found, one)),
        *(line for one in found.sampled for line in _of_samples(found, one)),
    )


def _of_the_plan(found: Plan) -> Iterator[str]:
    deadline, total = found.spec.deadline, found.times.total
    if deadline is not None and total > deadline.seconds:
        yield f"the steps take {_span(total)}, and after {deadline} every run fails: raise the deadline, or shorten the holds"
    yield from gate_doubts(found.spec)
    if all(check.settings.dry_run for check in found.checks) and not found.unknown:
        yield "no check judges anything, so the weight rises on time alone"
    if not any(time.answers for time in found.times.steps):
        for check in found.others:
            if isinstance(check.judge, Answers):
                yield (
                    f"check {check.name}: no step mirrors to a comparer, so there are never any results to read: name one in the "
                    "mirror of a step (`comparer`), or take the check out"
                )
    read = any(isinstance(check.judge, Answers) and not check.settings.dry_run for check in found.others)
    blind = [time.index for time in found.times.steps if time.traffic and time.why and not (time.answers and read)]
    limits = [one for one in found.sampled if not one.check.settings.dry_run]
    others = [check for check in found.others if not isinstance(check.judge, Answers)]
    if blind and found.compared and not limits and not found.unknown and not others:
        yield f"at {steps_words(blind)} nothing is compared, and no check with a limit looks there: add a check with a threshold"


def gate_doubts(spec: RolloutSpec) -> Iterator[str]:
    """Gates that may be closed for longer than a run may take."""
    for index, step in enumerate(spec.steps, 1):
        gate = step.gate
        if (
            spec.deadline is not None
            and gate is not None
            and gate.timeout is not None
            and gate.timeout.delta >= spec.deadline.delta
        ):
            yield (
                f"the gate of step {index} is given {gate.timeout}, and after {spec.deadline} every run fails, wherever it waits: raise "
                "the deadline, or leave it out"
            )
        closed = gate.window.longest_closed if gate is not None and gate.window is not None else timedelta(0)
        if spec.deadline is not None and closed > spec.deadline.delta:
            yield (
                f"the window of step {index} is closed for up to {span(closed)}, and after {spec.deadline} every run fails, wherever it waits: "
                "raise the deadline, or leave it out"
            )


def _of_comparison(found: Plan, one: Compared) -> Iterator[str]:
    name, times = one.check.name, f"{found.worse:g}{TIMES}"
    bad = bad_words(one.rule, times)
    if not one.found and name in found.unknown:
        return
    if not one.found:
        yield (
            f"check {name}: how long it needs is not known without {'how long requests take' if isinstance(one.rule, Slower) else 'the traffic'}: "
            f"give --prometheus-url{'' if isinstance(one.rule, Slower) else ', or --requests-per-second and --error-rate'}"
        )
        return
    there = [step for step, time in zip(one.found, found.times.steps, strict=True) if time.process]
    hopeful = [step for step in there if not step.never]
    if not hopeful:
        why = there[0].never if there else "nothing is compared at any step"
        yield f"check {name} never finds a canary that {bad}: {why}"
        return
    hopeless = [step.step for step in there if step.never]
    if hopeless:
        words = "too few of those requests are bad; give the canary a larger share"
        yield f"check {name} never finds {times} at {steps_words(hopeless)}: {words}"
    short = [step for step in hopeful if not step.long_enough]
    if short:
        needs = max((step.most for step in short if step.most is not None), default=None)
        hold = f"; that takes {_span(needs)}, at the slowest of them" if needs is not None else ""
        yield (
            f"check {name}: {steps_words([step.step for step in short])} {'is' if len(short) == 1 else 'are'} over before a canary "
            f"that {bad} from there on is found in 95 % of the runs{hold}"
        )
    end = one.found[-1].by_its_end
    if end < 0.95:
        yield (
            f"check {name}: a canary that {bad} from the start is promoted in {_percent(1 - end)} of the runs, as far as this "
            "check has a say: longer holds, or larger shares, help; a smaller interval does not"
        )


def _of_samples(found: Plan, one: Sampled) -> Iterator[str]:
    there = [step for step in found.times.steps if step.traffic]
    check = one.check
    needed = check.settings.failure_limit + 1 if check.sliding is None else check.sliding.most
    # A step waits for one sample in any case, and at least as long as a person takes where one is asked.
    hurried = [each for each, time in zip(one.samples, there, strict=True) if not time.approval]
    few = [each.step for each in hurried if max(each.count, 1) < needed]
    if few:
        row = " in a row" if check.sliding is None else ""
        limit = check.settings.failure_limit
        tolerated = f"failureLimit {limit}" if check.sliding is None else f"failures {check.settings.failures}"
        yield (
            f"check {check.name}: the hold of {steps_words(few)} has fewer than the {counted(needed, 'sample')}{row} that have to fail "
            f"(interval {check.settings.interval}, {tolerated})"
        )
    mixed = [each.step for each in hurried if each.clean == 0 and each.step not in few]
    if mixed:
        yield (
            f"check {check.name}: every sample at {steps_words(mixed)} is also of the traffic before: its window ({check.settings.window}) is "
            "not shorter than the hold"
        )


def bad_words(rule: Against[Any], times: str) -> str:
    """What a worse canary does: `fails 2 times as often`, with the sign for it."""
    return f"has {times} the odds to be slow" if isinstance(rule, Slower) else f"fails {times} as often"


def steps_words(numbers: Sequence[int]) -> str:
    """`step 2`, `steps 2 and 3`."""
    return f"step{'s' if len(numbers) > 1 else ''} {listing([str(number) for number in numbers])}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _span(seconds: float) -> str:
    return span(timedelta(seconds=round(seconds)))
