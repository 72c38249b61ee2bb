"""Logging: text for people, JSON for machines, and one structured line per tick that did something.

Fields travel in one attribute of the record, `canary` (a dict), so that they can never collide with the attributes that
`logging` keeps for itself.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import IO, Any, Literal

Format = Literal["text", "json"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NEEDS_QUOTES = re.compile(r'[\s"=\x00-\x1f\x7f-\x9f]')

ticks = logging.getLogger("canary.tick")

_QUIET = (
    "kopf",
    "aiohttp",
    "asyncio",
    "kubernetes",
    "urllib3",
    "prometheus_api_client",
    "tenacity",
    "httpx",
    "httpcore",
)
"""Libraries that narrate: kopf every handler of every object, aiohttp every scrape, urllib3 every connection."""


_TOLD = ("kopf._cogs.clients.api", "kopf._core.reactor.running", "kopf._core.reactor.orchestration")
"""Where kopf says that a request failed, or that it gives up: we do, in a line, and with what comes of it. What goes wrong in
a handler, or may not be watched, comes from other loggers of kopf's, and is heard."""


def configure(level: str = "INFO", fmt: Format = "text", stream: IO[str] | None = None) -> None:
    """Set up the root logger, replacing what was set up before. `stream` defaults to stderr.

    `level` is one of DEBUG, INFO, WARNING, ERROR; libraries keep to warnings, or to INFO when it is DEBUG.
    Raises ValueError for other levels and formats.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}: DEBUG, INFO, WARNING or ERROR")
    formatters: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}
    if fmt not in formatters:
        raise ValueError(f"unknown log format {fmt!r}: text or json")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatters[fmt]())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if number <= logging.DEBUG else max(number, logging.WARNING))
        # A library that brought its own handler would print everything twice.
        for own in list(logger.handlers):
            logger.removeHandler(own)
        logger.propagate = True
    for name in _TOLD:
        logging.getLogger(name).setLevel(logging.NOTSET if number <= logging.DEBUG else logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # health checks and scrapes, for ever


def tick_line(
    *,
    namespace: str,
    rollout: str,
    run: int | None,
    phase: str,
    step: str,
    reason: str,
    message: str,
    actions: Sequence[str] = (),
    routes: Sequence[str] = (),
    duration_ms: float,
    level: int = logging.INFO,
) -> None:
    """Say what a tick did, and why. Ticks that did nothing say nothing: do not call this for them.

    `step` is such as "3/6"; `actions` and `routes` name what was done and to which routes.
    """
    if not ticks.isEnabledFor(level):
        return
    fields = {
        "namespace": namespace,
        "rollout": rollout,
        "run": run,
        "phase": phase,
        "step": step,
        "reason": reason,
        "actions": list(actions),
        "routes": list(routes),
        "duration_ms": round(duration_ms, 3),
    }
    ticks.log(level, "%s", message, extra={"canary": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the fields, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            **_fields(record),
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """`time level logger message key=value ...`, on one line; only tracebacks take more."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), f"{record.levelname:<7}", record.name, _one_line(record.getMessage())]
        words += [f"{name}={_spell(value)}" for name, value in _fields(record).items() if value not in (None, "", [])]
        text = " ".join(words)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, "canary", None) or {})
    about = getattr(record, "k8s_ref", None)  # kopf's name for the object that a record is about
    if isinstance(about, dict):
        fields.setdefault("namespace", about.get("namespace"))
        fields.setdefault("object", f"{about.get('kind')}/{about.get('name')}")
    return fields


def _one_line(text: str) -> str:
    """Messages quote what others wrote (an error, a Status): it must neither start lines nor command the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _spell(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return json.dumps(text, ensure_ascii=False) if not text or _NEEDS_QUOTES.search(text) else text
