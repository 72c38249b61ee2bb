from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from canary.telemetry import configure, tick_line

LIBRARIES = (
    "kopf",
    "kopf.objects",
    "kopf._cogs.clients.api",
    "kopf._core.reactor.running",
    "kopf._core.reactor.orchestration",
    "aiohttp",
    "aiohttp.access",
    "asyncio",
    "kubernetes",
    "urllib3",
    "prometheus_api_client",
    "tenacity",
)


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    """The root logger belongs to pytest again after each test."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    for name, library_level in levels.items():
        logging.getLogger(name).setLevel(library_level)


def tick(**other: object) -> None:
    given = {
        "namespace": "team",
        "rollout": "shop",
        "run": 7,
        "phase": "RollingBack",
        "step": "3/6",
        "reason": "CheckFailed",
        "message": "error-rate is 3 %,\nlimit 1 %",
        "actions": ["SetSplit(0)", "EmitEvent"],
        "routes": ["HTTPRoute/shop"],
        "duration_ms": 1.23456,
    }
    tick_line(**given | other)


def test_json_is_one_object_per_line() -> None:
    """A machine reads each line by itself, newlines in the message included, and finds every field of a tick."""
    out = io.StringIO()
    configure("INFO", "json", out)
    tick()
    (line,) = out.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "canary.tick",
        "message": "error-rate is 3 %,\nlimit 1 %",
        "namespace": "team",
        "rollout": "shop",
        "run": 7,
        "phase": "RollingBack",
        "step": "3/6",
        "reason": "CheckFailed",
        "actions": ["SetSplit(0)", "EmitEvent"],
        "routes": ["HTTPRoute/shop"],
        "duration_ms": 1.235,
    }


def test_text_is_one_line() -> None:
    """A person reads one line, whatever is in the message; empty fields are left out."""
    out = io.StringIO()
    configure("INFO", "text", out)
    tick(run=None, actions=[])
    (line,) = out.getvalue().splitlines()
    assert line.partition(" ")[2] == (
        r"INFO    canary.tick error-rate is 3 %,\nlimit 1 % namespace=team rollout=shop phase=RollingBack step=3/6"
        " reason=CheckFailed routes=HTTPRoute/shop duration_ms=1.235"
    )


def test_text_does_not_command_the_terminal() -> None:
    """Escape sequences in what others wrote are shown, not obeyed."""
    out = io.StringIO()
    configure("INFO", "text", out)
    tick(message="\x1b[2Jgone", reason="\x1b[31m")
    assert "\x1b" not in out.getvalue()
    assert r"\x1b[2Jgone" in out.getvalue()


def test_exceptions_are_kept() -> None:
    """A traceback is a field in JSON, and follows the line in text."""
    for fmt in ("json", "text"):
        out = io.StringIO()
        configure("INFO", fmt, out)
        try:
            {}["boom"]
        except KeyError:
            logging.getLogger("canary.x").exception("it broke")
        if fmt == "json":
            assert json.loads(out.getvalue())["exception"].endswith("KeyError: 'boom'")
        else:
            assert out.getvalue().splitlines()[-1] == "KeyError: 'boom'"


def test_fields_cannot_replace_what_logging_says() -> None:
    """A field named level or time does not hide the real one."""
    out = io.StringIO()
    configure("INFO", "json", out)
    logging.getLogger("canary.x").info("hello", extra={"canary": {"level": "none", "odd": {1, 2}}})
    record = json.loads(out.getvalue())
    assert record["level"] == "info"
    assert "1" in record["odd"]


@pytest.mark.parametrize("level", ["INFO", "DEBUG", "error"])
def test_libraries_are_tamed(level: str) -> None:
    """Libraries say nothing below a warning, and no scrape is ever logged; DEBUG lets them say more, but not all."""
    out = io.StringIO()
    configure(level, "text", out)
    for name in LIBRARIES:
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).info("info of %s", name)
    logging.getLogger("kopf.objects").error("serious")
    lines = out.getvalue()
    assert "debug of" not in lines
    assert ("info of kopf" in lines) is (level == "DEBUG")
    assert "info of aiohttp.access" not in lines
    assert lines.count("serious") == 1


def test_kopf_records_say_which_object() -> None:
    """What kopf logs about an object carries the object."""
    out = io.StringIO()
    configure("INFO", "json", out)
    ref = {"kind": "Rollout", "name": "shop", "namespace": "team"}
    logging.getLogger("kopf.objects").warning("hm", extra={"k8s_ref": ref})
    record = json.loads(out.getvalue())
    assert (record["namespace"], record["object"]) == ("team", "Rollout/shop")


def test_configuring_again_replaces() -> None:
    """Two calls do not print twice; a level that silences ticks silences them."""
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", "text", first)
    configure("WARNING", "text", second)
    tick()
    logging.getLogger("canary.x").warning("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


@pytest.mark.parametrize(("level", "fmt"), [("LOUD", "text"), ("INFO", "xml")])
def test_unknown_settings_are_refused(level: str, fmt: str) -> None:
    """A typo in the settings is an error, not a default."""
    with pytest.raises(ValueError, match="unknown log"):
        configure(level, fmt)


def test_what_we_tell_ourselves_kopf_does_not_tell_again() -> None:
    """Requests that failed, and that it gives up, are ours to say; a handler that fails is heard. DEBUG hides nothing."""
    requests, handlers = logging.getLogger("kopf._cogs.clients.api"), logging.getLogger("kopf.objects")
    out = io.StringIO()
    configure("INFO", "text", out)
    requests.error("Request attempt #1/9 failed; will retry")
    handlers.error("Handler 'rollout' failed")
    assert "Request attempt" not in out.getvalue()
    assert "Handler 'rollout' failed" in out.getvalue()
    configure("DEBUG", "text", out)
    requests.error("Request attempt #2/9 failed; will retry")
    assert "Request attempt #2/9" in out.getvalue()
