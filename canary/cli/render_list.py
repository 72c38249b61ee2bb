"""The table of `canary list`: the columns of kubectl, with colours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from canary.cli.output import PHASE_STYLES
from canary.cli.view import RolloutView, short_status, view
from canary.cli.words import age, clean

Json = dict[str, Any]

LEAST_MESSAGE = 24
"""Columns for the message; with fewer, a table that is too wide for the terminal reads better."""


def render_list(documents: Sequence[Json], now: datetime, *, wide: bool = False, namespaces: bool = False) -> Table:
    """One row for each Rollout, in the order given. Only the message may break: half a name cannot be copied."""
    names = _columns(wide=wide, namespaces=namespaces)
    rows = [_row(view(document), now, wide=wide, namespaces=namespaces) for document in documents]
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        longest = max((row[index].cell_len for row in rows), default=0)
        least = min(longest, LEAST_MESSAGE) if name == "MESSAGE" else longest
        table.add_column(name, no_wrap=name != "MESSAGE", overflow="fold", min_width=max(least, len(name)))
    for row in rows:
        table.add_row(*row)
    return table


def least_width(table: Table) -> int:
    """Columns of a terminal that the table needs at least."""
    return sum((column.min_width or 0) + 3 for column in table.columns)


def _columns(*, wide: bool, namespaces: bool) -> list[str]:
    return [
        *(["NAMESPACE"] if namespaces else []),
        *["NAME", "PHASE", "STEP", "WEIGHT", "OBSERVED", "CHECKS", "MESSAGE"],
        *(["STABLE", "CANARY", "REVISION"] if wide else []),
        "AGE",
    ]


def _row(rollout: RolloutView, now: datetime, *, wide: bool, namespaces: bool) -> list[Text]:
    status = rollout.status
    step, weight, observed, checks = short_status(rollout)
    cells = [Text(rollout.namespace)] if namespaces else []
    cells += [
        Text(rollout.name, style="bold"),
        Text(rollout.phase, style=PHASE_STYLES.get(rollout.phase, "")),
        Text(step),
        Text(weight),
        Text(observed),
        Text(checks, style=_checks_style(rollout)),
        Text(" ".join(clean(status.message).split())),
    ]
    if wide:
        cells += [Text(clean(status.revisions.stable or "")), Text(clean(status.revisions.canary or ""))]
        cells.append(Text(clean(status.run.revision) if status.run else ""))
    cells.append(Text(age(now - rollout.created) if rollout.created else ""))
    return cells


def _checks_style(rollout: RolloutView) -> str:
    verdicts = {check.verdict.value for check in rollout.status.checks if not check.dry_run}
    if not rollout.active or not verdicts:
        return ""
    return "red" if "Fail" in verdicts else "yellow" if "Unknown" in verdicts else "green"
