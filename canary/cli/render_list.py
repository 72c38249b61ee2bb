"""The table of `canary list`: the columns of kubectl, with colours, one line for each Rollout. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from canary.cli.output import PHASE_STYLES, UNICODE, Symbols
from canary.view.rollout import RolloutView, short_status, view
from canary.view.words import age, clean
from canary.view.workloads import ROLES, Live, running

Json = dict[str, Any]

GAP = "   "


def render_list(
    documents: Sequence[Json],
    now: datetime,
    *,
    wide: bool = False,
    namespaces: bool = False,
    width: int | None = None,
    live: Live | None = None,
    symbols: Symbols = UNICODE,
) -> list[Text]:
    """A heading, and one line for each Rollout, in the order given.

    The message comes last, so that it is what a narrow terminal cuts: a line is never longer than `width` (None: as long
    as it is), and never breaks. `live`: Deployments as they are now, for the replicas of a wide table.
    """
    rows = [
        [Text(name, style="bold") for name in _columns(wide=wide, namespaces=namespaces)],
        *([*_row(view(document), now, wide=wide, namespaces=namespaces, live=live)] for document in documents),
    ]
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    return [_line(row, widths, width, symbols) for row in rows]


def _line(row: Sequence[Text], widths: Sequence[int], width: int | None, symbols: Symbols) -> Text:
    line = Text()
    for index, (cell, cells) in enumerate(zip(row, widths, strict=True)):
        line.append_text(cell)
        if index < len(row) - 1:
            line.append(" " * (cells - cell.cell_len) + GAP)
    line.rstrip()
    return cut(line, width, symbols)


def cut(line: Text, width: int | None, symbols: Symbols = UNICODE) -> Text:
    """A line of at most `width` cells; one that was longer ends in a sign that says so."""
    if width is None or line.cell_len <= width:
        return line
    line = line.copy()
    line.truncate(max(0, width - 1))
    line.rstrip()
    line.append(symbols.more, style="dim")
    return line


def _columns(*, wide: bool, namespaces: bool) -> list[str]:
    return [
        *(["NAMESPACE"] if namespaces else []),
        *["NAME", "PHASE", "STEP", "WEIGHT", "OBSERVED", "CHECKS", "AGE"],
        *(["STABLE", "CANARY", "REVISION", "STABLE-READY", "CANARY-READY"] if wide else []),
        *(["STABLE-IMAGES", "CANARY-IMAGES"] if wide else []),
        "MESSAGE",
    ]


def _row(rollout: RolloutView, now: datetime, *, wide: bool, namespaces: bool, live: Live | None) -> Iterator[Text]:
    status = rollout.status
    step, weight, observed, checks = short_status(rollout)
    if namespaces:
        yield Text(rollout.namespace)
    yield Text(rollout.name, style="bold")
    yield Text(rollout.phase, style=PHASE_STYLES.get(rollout.phase, ""))
    yield from (Text(word) for word in (step, weight, observed))
    yield Text(checks, style=_checks_style(rollout))
    yield Text(age(now - rollout.created) if rollout.created else "")
    if wide:
        runs = [running(rollout, role, live) for role in ROLES]
        yield from (Text(revision) for revision, _, _ in runs)
        yield Text(clean(status.run.revision) if status.run else "")
        yield from (Text(ready) for _, _, ready in runs)
        yield from (Text(images) for _, images, _ in runs)
    yield Text(" ".join(clean(status.message).split()))


def _checks_style(rollout: RolloutView) -> str:
    verdicts = {check.verdict.value for check in rollout.status.checks if not check.dry_run}
    if not rollout.active or not verdicts:
        return ""
    return "red" if "Fail" in verdicts else "yellow" if "Unknown" in verdicts else "green"
