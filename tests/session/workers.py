"""How tests are shared out among the workers of pytest-xdist (`pytest -n 4`). Without workers nothing here does anything.

Most tests wait more than they compute, so there may be more workers than cores. What measures time is marked `alone`: while
such a test runs, the other workers run none. Otherwise a worker is a session of its own: it has its own servers on free
ports, and its own real API server, if the session was given one to start.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Container, Generator, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

APART = frozenset({"tests/controller/test_controller_crash.py"})
"""Files whose tests take so long that each of them may go to another worker."""

FIRST = ("tests/controller/", "sandbox/tests/e2e/", "tests/e2e/", "tests/deploy/", "sandbox/tests/parts/")
"""What takes long begins early, so that at the end no worker waits for another one. Of these, files of APART come first."""


ALONE = "alone"
"""The file in a session's folder that lists the tests that want to be alone."""


BESIDE = "CANARY_TESTS_BESIDE"
"""Names a folder for sessions that run at one time on one machine: who is alone in one of them is alone in all."""


class Machine:
    """The right to run tests, which any number of workers have at a time, or one alone.

    `folder` is the same for all workers of a session, and of those beside it (`BESIDE`). Whoever wants to be alone is next: nobody
    else begins a test before.
    """

    def __init__(self, folder: Path) -> None:
        self._gate = (folder / "gate").open("a")
        self._tests = (folder / "tests").open("a")
        self.alone = False

    def enter(self, *, alone: bool) -> None:
        """Wait until a test may begin. Whoever is alone already and wants to be it again goes on at once."""
        if self.alone and alone:
            return
        self.leave()
        how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        fcntl.flock(self._gate, how)
        fcntl.flock(self._tests, how)
        self.alone = alone
        if not alone:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let others begin."""
        fcntl.flock(self._tests, fcntl.LOCK_UN)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self.alone = False

    def close(self) -> None:
        """Leave for good."""
        self._tests.close()
        self._gate.close()


def unit_of(nodeid: str, alone: Container[str]) -> str:
    """What goes to a worker as one piece: a file, whose tests may share a server; one test of a file of APART; all of `alone`."""
    if nodeid in alone:
        return "alone"
    path = nodeid.partition("::")[0]
    return nodeid if path in APART else path


def order(tests: Iterable[tuple[str, bool]]) -> list[int]:
    """The places of tests, given by id and whether they want to be alone, in the order in which they begin.

    Those that want to be alone come last, one after the other: the other workers wait for them once, and are done by then.
    """
    listed = [(nodeid.partition("::")[0], alone) for nodeid, alone in tests]
    files = {path: place for place, path in reversed(list(enumerate(path for path, _ in listed)))}

    def rank(place: int) -> tuple[bool, bool, int, int, int]:
        path, alone = listed[place]
        folder = next((n for n, folder in enumerate(FIRST) if path.startswith(folder)), len(FIRST))
        return alone, path not in APART, folder, files[path], place

    return sorted(range(len(listed)), key=rank)


class Worker:
    """What acts in each worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machine = Machine(Path(os.environ.get(BESIDE) or folder))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = order((item.nodeid, wants_alone(item)) for item in items)
        items[:] = [items[place] for place in places]
        # Who hands tests out knows nothing of them but their ids. All workers write the same, each by a rename.
        part = self._folder / f"{os.getpid()}.part"
        part.write_text("\n".join(item.nodeid for item in items if wants_alone(item)))
        part.replace(self._folder / ALONE)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # before the time-out of a test begins
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        self._machine.enter(alone=wants_alone(item))
        try:
            return (yield)
        finally:
            if not (self._machine.alone and nextitem is not None and wants_alone(nextitem)):
                self._machine.leave()

    def pytest_unconfigure(self) -> None:
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
            def _alone(self) -> frozenset[str]:
                return frozenset((folder / ALONE).read_text().splitlines())  # first asked when all have collected

            def _split_scope(self, nodeid: str) -> str:
                return unit_of(nodeid, self._alone)

        config.option.loadscopereorder = False  # the order is ours
        return ByUnit(config, log)

    def pytest_unconfigure(self) -> None:
        self._folder.cleanup()


def wants_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


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
