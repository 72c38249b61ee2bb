"""Tests in several workers: who goes where, who runs beside whom, and that the session is as good as one of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest
from workers import APART, BESIDE, LATE, SHORT, Machine, Turn, order, unit_of

SESSION = Path(__file__).parent
CONFTEST = """
import signal

import workers

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    config.addinivalue_line("markers", "alone(why): measures time")
    workers.register(config)
"""
TESTS = """
import os, time
from pathlib import Path

import pytest


def spend(name):
    began = time.monotonic()
    time.sleep(0.15)
    Path(name).write_text(f"{began} {time.monotonic()}")


@pytest.mark.parametrize("number", range(3))
def test_together(number):
    spend(f"together-WORD-{number}")


@pytest.mark.alone("why")
@pytest.mark.parametrize("number", range(2))
def test_alone(number):
    spend(f"alone-WORD-{number}")


@pytest.mark.alone("why", waits=True)
@pytest.mark.parametrize("number", range(2))
def test_waits(number):
    spend(f"waits-WORD-{number}")
"""
WAITS = """
import time
from pathlib import Path

import pytest


@pytest.mark.alone("why", waits=True)
@pytest.mark.parametrize("number", range(3))
def test_waits(number):
    began = time.monotonic()
    time.sleep(0.05)
    Path(f"waits-{number}-it").write_text(f"{began} {time.monotonic()}")
"""
MANY = """
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(12))
def test_together(number):
    began = time.monotonic()
    time.sleep(0.05)
    Path(f"together-{number}-it").write_text(f"{began} {time.monotonic()}")
"""
MEETS = """
import time
from pathlib import Path


def test_the_other_session_is_there():
    began = time.monotonic()
    Path("../turns/WORD").touch()
    while len(list(Path("../turns").glob("here-*"))) < 2:
        time.sleep(0.01)
    Path("WORD-0").write_text(f"{began} {time.monotonic()}")
"""
SLOW = """
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def server():
    Path("up-WORD").touch()
    yield
    Path("down-WORD").touch()


def test_slow(server):
    time.sleep(60)
"""


def session(folder: Path, beside: Path | None = None) -> subprocess.Popen[str]:
    """A session of two workers, in a process group of its own as a terminal has it; it takes turns with those of `beside` only."""
    folder.mkdir(exist_ok=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-q", "-p", "no:cacheprovider"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != BESIDE}
    if beside is not None:
        clean[BESIDE] = str(beside)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=clean | {"PYTHONPATH": str(SESSION), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ("a.py::one a.py::two b.py::one", "a.py::one a.py::two b.py::one"),
        ("tests/lint/a.py::one tests/controller/b.py::one", "tests/controller/b.py::one tests/lint/a.py::one"),
        ("b.py::!two tests/e2e/a.py::!one b.py::one", "b.py::one tests/e2e/a.py::!one b.py::!two"),
        ("tests/e2e/a.py::!one b.py::?two a.py::one", "a.py::one b.py::?two tests/e2e/a.py::!one"),
        (f"tests/controller/a.py::one {min(APART)}::one", f"{min(APART)}::one tests/controller/a.py::one"),
        ("tests/deploy/a.py::one tests/e2e/b.py::one", "tests/e2e/b.py::one tests/deploy/a.py::one"),
        (f"{min(LATE)}::one a.py::!two a.py::one", f"a.py::one {min(LATE)}::one a.py::!two"),
        (f"{SHORT[0]}b.py::one {min(LATE)}::one a.py::one", f"a.py::one {min(LATE)}::one {SHORT[0]}b.py::one"),
    ],
    ids=[
        "as collected",
        "slow folders first",
        "alone after all",
        "before them what waits",
        "long tests before short ones",
        "folders in order",
        "some late",
        "after them what is short",
    ],
)
def test_who_begins(tests: str, expected: str) -> None:
    """What takes long comes first, what runs alone last; a file stays together. (! marks a test that runs alone, ? one of them that waits.)"""
    ids = tests.split()
    assert [ids[place] for place in order((one, turn(one)) for one in ids)] == expected.split()


def turn(nodeid: str) -> Turn:
    return Turn.ALONE if "!" in nodeid else Turn.WAITING if "?" in nodeid else Turn.ANYBODY


def test_a_file_goes_to_one_worker() -> None:
    """Its tests share servers; only the tests of a file that takes minutes go where there is room."""
    assert unit_of("tests/a.py::Class::test", {}) == "tests/a.py"
    assert unit_of(f"{min(APART)}::test[good]", {}) == f"{min(APART)}::test[good]"


def test_what_runs_alone_goes_to_one_worker() -> None:
    """From whichever files: one worker does them one after the other. Those that wait go to whoever has room."""
    ids = [f"tests/{file}.py::{sign}test" for file in "ab" for sign in "!?"]
    measure = {nodeid: turn(nodeid) for nodeid in ids}
    units = ["alone", "tests/a.py::?test", "alone", "tests/b.py::?test"]
    assert [unit_of(nodeid, measure) for nodeid in ids] == units
    assert unit_of("tests/a.py::other", measure) == "tests/a.py"


def test_files_that_are_taken_apart_exist() -> None:
    """A file that was renamed would go to one worker as a whole, and nobody would notice."""
    assert [path for path in sorted(APART | LATE) if not (SESSION.parents[1] / path).is_file()] == []


@contextmanager
def machines(folder: Path, *names: str) -> Iterator[dict[str, Entering]]:
    found = {name: Entering(Machine(folder)) for name in names}
    yield found
    for one in found.values():
        one.machine.close()


class Entering:
    """A worker that begins a test as soon as it may."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.thread = threading.Thread()

    def begins(self, turn: Turn) -> None:
        self.thread = threading.Thread(target=self.machine.enter, args=(turn,), daemon=True)
        self.thread.start()

    @property
    def runs(self) -> bool:
        """Whether it has begun. A moment later it may have: whoever says it has not gives it that."""
        self.thread.join(0.1)
        return not self.thread.is_alive()

    def ends(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.machine.leave()


@pytest.mark.parametrize("turn", [Turn.ALONE, Turn.WAITING])
def test_who_cannot_run_beside_others_is_next(tmp_path: Path, turn: Turn) -> None:
    """Two run beside each other; a third waits for both, and whoever comes after it waits for it."""
    with machines(tmp_path, "first", "second", "third", "late") as found:
        first, second, third, late = found.values()
        first.begins(Turn.ANYBODY)
        second.begins(Turn.ANYBODY)
        assert first.runs
        assert second.runs
        third.begins(turn)
        assert not third.runs
        late.begins(Turn.ANYBODY)
        first.ends()
        assert not third.runs
        assert not late.runs
        second.ends()
        third.thread.join(10)
        assert third.runs
        assert not late.runs
        third.ends()
        late.ends()


def test_who_only_waits_runs_beside_others_that_do(tmp_path: Path) -> None:
    """And beside nobody else: not beside who is alone, nor beside a test like any other, whoever of them was there first."""
    for other in (Turn.ALONE, Turn.ANYBODY):
        with machines(tmp_path, "one", "two", "other", "late") as found:
            one, two, third, late = found.values()
            one.begins(Turn.WAITING)
            two.begins(Turn.WAITING)
            assert one.runs
            assert two.runs
            third.begins(other)
            assert not third.runs
            late.begins(Turn.WAITING)
            one.ends()
            assert not third.runs
            assert not late.runs
            two.ends()
            third.thread.join(10)
            assert third.runs
            assert not late.runs
            third.ends()
            late.ends()


def test_who_is_alone_stays_so_for_the_next_of_its_kind(tmp_path: Path) -> None:
    """Tests that run alone follow each other without letting others in between."""
    with machines(tmp_path, "lonely", "other") as found:
        lonely, other = found.values()
        lonely.machine.enter(Turn.ALONE)
        other.begins(Turn.ANYBODY)
        lonely.machine.enter(Turn.ALONE)
        assert not other.runs
        lonely.machine.enter(Turn.ANYBODY)
        other.ends()


def written_by(folder: Path) -> dict[str, list[float]]:
    """When each test began and ended, by the name of the file that it wrote."""
    return {path.name: [float(part) for part in path.read_text().split()] for path in folder.glob("*-*-*")}


def beside_each_other(times: dict[str, list[float]]) -> list[tuple[str, str]]:
    return [
        (one, other)
        for (one, (began, ended)), (other, (start, end)) in combinations(times.items(), 2)
        if began < end and start < ended
    ]


def test_nothing_runs_beside_a_test_that_is_alone(tmp_path: Path) -> None:
    """In a session with two workers the others overlap, and these overlap with nothing; those of them that wait, with their like."""
    for word in "abc":
        (tmp_path / f"test_{word}.py").write_text(TESTS.replace("WORD", word))
    ran = session(tmp_path)
    said, _ = ran.communicate(timeout=60)
    assert ran.returncode == 0, said
    assert "21 passed" in said
    times = written_by(tmp_path)
    assert len(times) == 21
    kinds = {frozenset(name.partition("-")[0] for name in pair) for pair in beside_each_other(times)}
    assert kinds == {frozenset({"together"}), frozenset({"waits"})}
    begun = sorted(times, key=lambda name: times[name][0])
    first = next(place for place, name in enumerate(begun) if name.startswith("alone"))
    assert first >= 3
    assert all(name.startswith("alone") for name in begun[first : first + 6])


def test_who_waits_begins_when_nobody_has_anything_else_left(tmp_path: Path) -> None:
    """Else it would wait for each single test of another worker, and that one for it."""
    (tmp_path / "test_many.py").write_text(MANY)
    (tmp_path / "test_waits.py").write_text(WAITS)
    ran = session(tmp_path)
    said, _ = ran.communicate(timeout=60)
    assert (ran.returncode, "15 passed" in said) == (0, True), said
    times = written_by(tmp_path)
    ended = max(end for name, (_, end) in times.items() if name.startswith("together"))
    assert min(begin for name, (begin, _) in times.items() if name.startswith("waits")) >= ended


def test_who_is_alone_is_so_in_all_sessions_that_run_at_one_time(tmp_path: Path) -> None:
    """Two sessions that are told the same folder: their tests overlap, and with who wants to be alone nothing of either does."""
    turns = tmp_path / "turns"
    turns.mkdir()
    folders = [tmp_path / word for word in "ab"]
    for folder in folders:
        folder.mkdir()
        (folder / "test_a.py").write_text(MEETS.replace("WORD", f"here-{folder.name}"))
        (folder / "test_b.py").write_text(TESTS.replace("WORD", folder.name))
    both = [session(folder, beside=turns) for folder in folders]
    for ran in both:
        said, _ = ran.communicate(timeout=60)
        assert ran.returncode == 0, said
    first, second = (written_by(folder) for folder in folders)
    assert len(first) == len(second) == 8
    beside = beside_each_other(first | second)
    assert any((one in first) != (other in first) for one, other in beside), "the sessions did not run at one time"
    assert not [pair for pair in beside if any(name.startswith("alone") for name in pair)]
    assert not [pair for pair in beside if sum(name.startswith("waits") for name in pair) == 1]


def test_one_failure_fails_the_session(tmp_path: Path) -> None:
    """In whichever worker it happens, its words are in the report, and the summary counts everything once."""
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_bad(): assert 'this' == 'that'\n")
    ran = session(tmp_path)
    said, _ = ran.communicate(timeout=60)
    assert ran.returncode == 1
    assert "AssertionError: assert 'this' == 'that'" in said
    assert "1 failed, 1 passed" in said


@pytest.mark.parametrize("whom", ["everybody", "the session"])
def test_ctrl_c_ends_every_worker(tmp_path: Path, whom: str) -> None:
    """Whether a terminal tells the whole group or somebody the session alone: servers are shut down, nobody is left."""
    for word in ("a", "b"):
        (tmp_path / f"test_{word}.py").write_text(SLOW.replace("WORD", word))
    ran = session(tmp_path)
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("up-*"))) < 2:
        assert time.monotonic() < end, "no test begins"
        time.sleep(0.05)
    (os.killpg if whom == "everybody" else os.kill)(ran.pid, signal.SIGINT)
    said, _ = ran.communicate(timeout=60)  # who is left would keep the other end open
    assert ran.returncode == 2, said
    assert "KeyboardInterrupt" in said
    assert sorted(path.name for path in tmp_path.glob("down-*")) == ["down-a", "down-b"]
