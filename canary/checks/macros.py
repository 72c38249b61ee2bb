"""The macros of CEL, each from what is walked, the place of its name in a frame, and the steps, body and filter of an element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canary.checks.arithmetic import Fault
from canary.checks.program import Frame, Run


def _all(over: Run, slot: int, each: int, body: Run, _: Run | None) -> Run:
    return _search(over, slot, each, body, wanted=False)


def _exists(over: Run, slot: int, each: int, body: Run, _: Run | None) -> Run:
    return _search(over, slot, each, body, wanted=True)


def _search(over: Run, slot: int, each: int, body: Run, *, wanted: bool) -> Run:
    """The first element for which the body says what is wanted decides, even if others before it were at fault."""

    def run(frame: Frame) -> bool:
        draw = frame[0].draw
        fault: Fault | None = None
        for item in over(frame):
            draw(each)
            frame[slot] = item
            try:
                if body(frame) == wanted:
                    return wanted
            except Fault as found:
                fault = fault or found
        if fault is not None:
            raise fault
        return not wanted

    return run


def _exists_one(over: Run, slot: int, each: int, body: Run, _: Run | None) -> Run:
    def run(frame: Frame) -> bool:
        draw, count = frame[0].draw, 0
        for item in over(frame):
            draw(each)
            frame[slot] = item
            count += body(frame)
        return count == 1

    return run


def _filter(over: Run, slot: int, each: int, body: Run, _: Run | None) -> Run:
    def run(frame: Frame) -> list[Any]:
        draw, kept = frame[0].draw, []
        for item in over(frame):
            draw(each)
            frame[slot] = item
            if body(frame):
                kept.append(item)
        return kept

    return run


def _map(over: Run, slot: int, each: int, body: Run, keep: Run | None) -> Run:
    def run(frame: Frame) -> list[Any]:
        draw, made = frame[0].draw, []
        for item in over(frame):
            draw(each)
            frame[slot] = item
            if keep is None or keep(frame):
                made.append(body(frame))
        return made

    return run


MACROS: dict[str, Callable[[Run, int, int, Run, Run | None], Run]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}
