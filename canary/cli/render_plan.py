"""A plan on a terminal: its steps, what each check sees of them, alpha, and warnings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from canary.checks.judges.slower import Slower
from canary.checks.judges.words import seconds_words, share
from canary.cli.output import UNICODE, Symbols
from canary.rehearse.detection import Found
from canary.rehearse.doubts import bad_words, steps_words, warnings
from canary.rehearse.plan import Compared, Plan, Sampled, afterwards
from canary.rehearse.timeline import ACCEPT
from canary.view.words import clean, counted, listing, span

INDENT = (0, 0, 0, 2)
TRAFFIC = "TRAFFIC"
"""The column that breaks into lines before others do."""
_BETWEEN = 2
"""Spaces between two columns."""


def render_plan(name: str, plan: Plan, where: str, *, symbols: Symbols = UNICODE) -> RenderableType:
    """All of it, warnings last. `where`: what the traffic rests on."""
    parts: list[RenderableType] = [Text(f"{clean(name)}: the plan", style="bold"), *_timeline(plan)]
    for compared in plan.compared:
        parts += [Text(), *_comparison(plan, compared, where, symbols)]
    for sampled in plan.sampled:
        parts += [Text(), *_samples(sampled)]
    for check in plan.others:
        parts += [
            Text(),
            _title(check.name, check.limit, dry=check.settings.dry_run),
            _line("How soon such a check finds anything is not calculated."),
        ]
    if plan.parts:
        parts += [Text(), *_alpha(plan)]
    found = warnings(plan)
    if found:
        parts += [Text(), Text("Warnings", style="bold"), *(warning(line, symbols) for line in found)]
    return Group(*parts)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """Columns with headings, as wide as they have to be; where that is too wide, headings break into two lines, and then cells do."""
    return Padding(_Columns(columns, [[clean(cell) for cell in row] for row in rows]), INDENT)


@dataclass(frozen=True, slots=True)
class _Columns:
    """None of them is left out as long as there is room for a character of each."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        broken = [_in_two(heading) for heading in self.headings]
        fits = options.max_width
        if self._needs(self.headings) <= fits:
            yield self._grid(self.headings)
        else:
            yield self._grid(broken, folds=self._needs(broken) > fits)

    def _needs(self, headings: Sequence[str]) -> int:
        """The least width at which nothing breaks that should not."""
        widths = []
        for number, heading in enumerate(headings):
            cells = [] if self._breaks(number) else [row[number] for row in self.rows]
            widths.append(max(map(cell_len, (*heading.splitlines(), *cells)), default=0))
        return sum(widths) + _BETWEEN * (len(widths) - 1)

    def _breaks(self, number: int) -> bool:
        return self.headings[number] == TRAFFIC or number == len(self.headings) - 1

    def _grid(self, headings: Sequence[str], *, folds: bool = False) -> Table:
        grid = Table.grid(padding=(0, _BETWEEN, 0, 0))
        for number, heading in enumerate(headings):
            least = None if folds else max(map(cell_len, heading.splitlines()), default=0)
            grid.add_column(no_wrap=not (folds or self._breaks(number)), overflow="fold", min_width=least)
        grid.add_row(*(Text(heading, style="dim") for heading in headings))
        for row in self.rows:
            grid.add_row(*map(Text, row))
        return grid


def _in_two(heading: str) -> str:
    """In two lines of words, as even as can be; one word is the second of them."""
    words = heading.split(" ")
    halves = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return "\n".join(min(halves, key=lambda pair: max(map(len, pair)), default=("", heading)))


def _timeline(plan: Plan) -> Iterator[RenderableType]:
    rows = []
    for step in plan.times.steps:
        waiting = [f"waits {_span(step.ends - step.over)} for its checks"] if step.ends > step.over + 0.5 else []
        gate = f"its window ({step.gate})" if step.window else f"the yes of {step.gate}"
        waiting = [f"waits for {gate}"] * bool(step.gate) + waiting
        waits = ", ".join(["waits for a person"] * step.approval + waiting)
        rows.append((str(step.index), step.label, _span(step.starts), _span(step.hold), _span(step.ends), waits))
    yield table(("STEP", TRAFFIC, "STARTS", "HOLD", "ENDS", ""), rows)
    more = [f"the time of {counted(plan.approvals, 'approval')}"] if plan.approvals else []
    more += [f"the time until {'the window opens' if plan.windows == 1 else 'windows open'}"] if plan.windows else []
    asked = plan.gates - plan.windows
    more += [f"the time until {'the gate says' if asked == 1 else 'the gates say'} yes"] if asked else []
    people = f", and {listing(more)}" if more else ""
    yield _line(f"In all {_span(plan.times.total)}{people}; {afterwards(plan)}.")
    if plan.early:
        yield _line(f"{listing(list(plan.early))} may end a hold sooner (promoteEarly): these are the latest times.")
    yield _line(
        f"Assumed: gateways accept a write within {ACCEPT:g} s (a run waits {plan.spec.accept_timeout} at most), and data planes follow "
        f"within {plan.settle:g} s."
    )


def _comparison(plan: Plan, one: Compared, where: str, symbols: Symbols) -> Iterator[RenderableType]:
    times = f"{plan.worse:g}{symbols.times}"
    yield _title(one.check.name, f"compares, {one.check.limit}", dry=one.check.settings.dry_run)
    traffic = one.traffic
    if traffic is None:
        yield _line("How long it needs is not known without the traffic.")
        return
    yield _line(f"{traffic.rate:.4g} requests a second, {_bad(one)} ({where}).")
    rows = [_found(step, plan.times.steps[step.step - 1].label) for step in one.found]
    columns = ("STEP", TRAFFIC, "FIRST LOOK", "HALF FOUND", "95 % FOUND", "IN THIS STEP", "LONG ENOUGH", "BY ITS END")
    yield table(columns, rows)
    for why in dict.fromkeys(step.never for step in one.found if step.never):
        yield _line(f"{steps_words([step.step for step in one.found if step.never == why]).capitalize()}: {why}.")
    yield _line(
        f"Of a canary that {bad_words(one.rule, times)}. From FIRST LOOK to IN THIS STEP: from the beginning of that step on; times count from the "
        "beginning of its hold. BY ITS END: from the first step on."
    )


def _bad(one: Compared) -> str:
    """What is bad of stable's requests now."""
    if one.traffic is None or not isinstance(one.rule, Slower):
        return f"of which stable fails {share(one.traffic.failing if one.traffic is not None else 0.0)}"
    parts = zip(one.rule.bounds, one.traffic.slow, strict=True)
    return "of which at stable " + ", ".join(
        f"{share(part)} are slower than {seconds_words(bound)}" for bound, part in parts
    )


def _found(found: Found, label: str) -> tuple[str, ...]:
    look = "-" if found.first_look is None else _span(found.first_look)
    if found.never:
        return str(found.step), label, "-", "never", "never", "-", "-", _percent(found.by_its_end)
    half, most = ("later" if at is None else _span(at) for at in (found.half, found.most))
    enough = "yes" if found.long_enough else "no"
    return (str(found.step), label, look, half, most, _percent(found.within), enough, _percent(found.by_its_end))


def _samples(one: Sampled) -> Iterator[RenderableType]:
    settings = one.check.settings
    yield _title(one.check.name, f"a limit, {one.check.limit}", dry=settings.dry_run)
    windowed = any(each.clean is not None for each in one.samples)
    window = f", each over {settings.window}" if windowed else ""
    row, sliding = settings.failure_limit + 1, one.check.sliding
    fails = "one that fails fails" if row == 1 else f"{row} in a row that fail fail"
    if sliding is not None:
        fails = f"{sliding.most} of the last {sliding.of} that fail fail"
    yield _line(f"A sample every {settings.interval}{window}; {fails} the run.")
    if windowed:
        rows = [(str(each.step), str(each.count), str(each.clean)) for each in one.samples]
        yield table(("STEP", "SAMPLES", "OF THIS STEP ALONE"), rows)
    else:
        yield table(("STEP", "SAMPLES"), [(str(each.step), str(each.count)) for each in one.samples])


def _alpha(plan: Plan) -> Iterator[RenderableType]:
    yield Text("Alpha: healthy canaries that comparisons may fail", style="bold")
    rows = [
        (
            clean(part.check.name),
            share(float(part.alpha)),
            "its own" if part.own else f"of spec.alpha ({share(float(plan.spec.shared_alpha))})",
            str(part.processes),
            f"{part.evidence:,.0f}",
        )
        for part in plan.parts
    ]
    yield table(("CHECK", "ALPHA", "WHOSE", "JUDGED APART", "EVIDENCE NEEDED IN EACH"), rows)
    yield _line(f"In all at most {share(plan.alpha)} of the runs, as far as failures do not depend on each other.")


def _title(name: str, what: str, *, dry: bool) -> Text:
    return Text.assemble(
        (f"Check {clean(name)}", "bold"), f": {clean(what)}{'; a dry run, it fails nothing' if dry else ''}"
    )


def _line(words: str) -> RenderableType:
    return Padding(Text(words), INDENT)


def warning(words: str, symbols: Symbols) -> RenderableType:
    """A doubt, with its sign."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(f"  {symbols.warn}", style="yellow"), Text(clean(words)))
    return grid


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _span(seconds: float) -> str:
    return span(timedelta(seconds=round(seconds)))
