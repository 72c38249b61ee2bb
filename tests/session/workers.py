"""How tests are shared out among the workers of pytest-xdist (`pytest -n 4`). Without workers nothing here does anything.

Most tests wait more than they compute, so there may be more workers than cores. What measures time is marked `alone`: while
such a test runs, the other workers run none, or, where it only waits, others of this kind. Otherwise a worker is a session of its
own: it has its own servers on free ports, and its own real API server, if the session was given one to start.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Mapping
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

SIGSTOP = "tests/controller/test_controller_sigstop.py"
APART = frozenset({"tests/controller/test_controller_crash.py", SIGSTOP})
"""Files whose tests take so long that each of them may go to another worker."""

FIRST = ("tests/controller/", "sandbox/tests/e2e/", "tests/e2e/", "tests/deploy/", "sandbox/tests/parts/")
"""What takes long begins early, so that at the end no worker waits for another one. Of these, files of APART come first."""

LATE = frozenset({SIGSTOP})
"""What counts on getting its part of the processor every few seconds: it comes when sessions beside this one have ended."""

SHORT = tuple(
    f"tests/{folder}/" for folder in ("kube", "lint", "metrics", "model", "notify", "observe", "rehearse", "routes")
)
"""Files of many short tests: after what is LATE, so that no worker has nothing to do while others are at a long one."""


class Turn(Enum):
    """Beside whom a test runs."""

    ANYBODY = "beside whoever runs at any time"
    WAITING = "it measures time, and only waits: beside others that do so"
    ALONE = "it measures time, and computes: beside nobody"


MEASURE = "measure.json"
"""The file in a session's folder that says of the tests that measure time how they run."""


BESIDE = "CANARY_TESTS_BESIDE"
"""Names a folder for sessions that run at one time on one machine: who is alone in one of them is alone in all."""


class Machine:
    """The right to run tests, which any number of workers have at a time, or any number with tests that wait, or one alone.

    `folder` is the same for all workers of a session, and of those beside it (`BESIDE`). Whoever cannot run beside those that run now
    is next: nobody else begins a test before.
    """

    def __init__(self, folder: Path) -> None:
        self._gate = (folder / "gate").open("a")
        self._run = {turn: (folder / turn.name.lower()).open("a") for turn in (Turn.ANYBODY, Turn.WAITING)}
        self.alone = False

    def enter(self, turn: Turn) -> None:
        """Wait until a test may begin. Whoever is alone already and wants to be it again goes on at once."""
        if self.alone and turn is Turn.ALONE:
            return
        self.leave()
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        for kind, lock in self._run.items():
            if kind is not turn:
                fcntl.flock(lock, fcntl.LOCK_EX)  # when all of that kind are done; no other one gets through the gate
        self.alone = turn is Turn.ALONE
        if not self.alone:
            for kind, lock in self._run.items():
                fcntl.flock(lock, fcntl.LOCK_SH if kind is turn else fcntl.LOCK_UN)
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let others begin."""
        for lock in (*self._run.values(), self._gate):
            fcntl.flock(lock, fcntl.LOCK_UN)
        self.alone = False

    def close(self) -> None:
        """Leave for good."""
        for lock in (*self._run.values(), self._gate):
            lock.close()


def unit_of(nodeid: str, measure: Mapping[str, Turn]) -> str:
    """What goes to a worker as one piece: a file, whose tests may share a server; one test of a file of APART.

    Of the tests that measure time (`measure`) all that are alone are one piece, and each that waits is one.
    """
    path = nodeid.partition("::")[0]
    match measure.get(nodeid, Turn.ANYBODY):
        case Turn.ALONE:
            return "alone"
        case Turn.WAITING:
            return nodeid
    return nodeid if path in APART else path


def order(tests: Iterable[tuple[str, Turn]]) -> list[int]:
    """The places of tests, given by id and beside whom they run, in the order in which they begin.

    Those that measure time come last: the others are done by then. First those that wait, beside each other; then the rest, one
    after the other.
    """
    listed = [(nodeid.partition("::")[0], turn) for nodeid, turn in tests]
    files = {path: place for place, path in reversed(list(enumerate(path for path, _ in listed)))}
    turns = list(Turn)

    def rank(place: int) -> tuple[int, int, bool, int, int, int]:
        path, turn = listed[place]
        stage = 1 if path in LATE else 2 if path.startswith(SHORT) else 0
        folder = next((n for n, folder in enumerate(FIRST) if path.startswith(folder)), len(FIRST))
        return turns.index(turn), stage, path not in APART, folder, files[path], place

    return sorted(range(len(listed)), key=rank)


class Rest:
    """Until when a worker of a session has tests that run beside others. Whoever ends, in whatever way, has none left."""

    def __init__(self, folder: Path) -> None:
        self._left = (folder / "left").open("a")
        fcntl.flock(self._left, fcntl.LOCK_SH)

    def done(self) -> None:
        """This worker has none left: wait until no other one has. Otherwise the two kinds would take turns, test by test."""
        if not self._left.closed:
            fcntl.flock(self._left, fcntl.LOCK_UN)
            fcntl.flock(self._left, fcntl.LOCK_EX)
            self.close()

    def close(self) -> None:
        """This worker ends."""
        self._left.close()


class Worker:
    """What acts in each worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machine = Machine(Path(os.environ.get(BESIDE) or folder))
        self._rest = Rest(folder)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [items[place] for place in order((item.nodeid, turn_of(item)) for item in items)]
        # Who hands tests out knows nothing of them but their ids. All workers write the same, each by a rename.
        part = self._folder / f"{os.getpid()}.part"
        turns = {item.nodeid: turn_of(item).name for item in items if turn_of(item) is not Turn.ANYBODY}
        part.write_text(json.dumps(turns))
        part.replace(self._folder / MEASURE)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # before the time-out of a test begins
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        if turn_of(item) is not Turn.ANYBODY:
            self._rest.done()
        self._machine.enter(turn_of(item))
        try:
            return (yield)
        finally:
            if not (self._machine.alone and nextitem is not None and turn_of(nextitem) is Turn.ALONE):
                self._machine.leave()

    def pytest_unconfigure(self) -> None:
        self._rest.close()
        self._machine.close()


class Distributor:
    """What acts in the process that hands tests out to workers."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="canary-tests-")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["machine"] = self._folder.name

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from xdist.scheduler import LoadScopeScheduling

        folder = Path(self._folder.name)

        class ByUnit(LoadScopeScheduling):
            @cached_property
            def _measure(self) -> dict[str, Turn]:
                found = json.loads((folder / MEASURE).read_text())  # first asked when all have collected
                return {nodeid: Turn[name] for nodeid, name in found.items()}

            def _split_scope(self, nodeid: str) -> str:
                return unit_of(nodeid, self._measure)

        config.option.loadscopereorder = False  # the order is ours
        return ByUnit(config, log)

    def pytest_unconfigure(self) -> None:
        self._folder.cleanup()


def turn_of(item: pytest.Item) -> Turn:
    """`alone("what it measures")`, or with `waits=True` where the test uses hardly any of the processor."""
    mark = item.get_closest_marker("alone")
    if mark is None:
        return Turn.ANYBODY
    return Turn.WAITING if mark.kwargs.get("waits") else Turn.ALONE


def distributes(config: pytest.Config) -> bool:
    """Whether this process runs no test itself but hands them out."""
    return not hasattr(config, "workerinput") and bool(getattr(config.option, "numprocesses", None))


def register(config: pytest.Config) -> None:
    """Take part in a session that has workers."""
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.pluginmanager.register(Worker(Path(given["machine"])), "canary-worker")
    elif distributes(config):
        config.pluginmanager.register(Distributor(), "canary-distributor")
