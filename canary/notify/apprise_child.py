"""Sends messages by apprise: the program of the process that `canary.notify.apprise` starts.

A line of JSON in, a line of JSON out, one after the other; the first one out says that it is ready. It knows no cluster, and what it may reach is said with each message.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from canary.metrics.hosts import Hosts
from canary.notify.guard import Guard, program

NICE = 10
"""It gives way to rollbacks."""

ROOM = 96 * 1024 * 1024
"""Bytes of memory for what comes in, beyond what the program has when it begins: an answer without end ends there."""


def main() -> None:
    """Answer until there is nothing more to read."""
    logging.disable(logging.CRITICAL)  # what it would say may be a credential
    os.nice(NICE)
    notifier = _Apprise()
    guard = Guard(program())
    _bound()
    guard.install()
    _say({"ready": True})
    for line in sys.stdin:
        _say(_answer(notifier, guard, json.loads(line)))


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _answer(notifier: _Apprise, guard: Guard, asked: dict[str, Any]) -> dict[str, Any]:
    guard.open_to(Hosts.read(asked["allowed"]), Hosts.read(asked["meant"]))
    try:
        said = notifier.send(asked["url"], asked["title"], asked["body"], asked["level"], asked["seconds"])
    except MemoryError:
        said = "TooLarge"
    except Exception:  # noqa: BLE001 - a library, on a text that anybody wrote: nothing of it is said, and the next one is served
        said = "Failed"
    finally:
        guard.close()
    refused = guard.refusals[0] if guard.refusals and said != "Delivered" else ""
    return {"outcome": refused or said}


class _Apprise:
    """The library, with everything that it would do on its own accord turned off."""

    def __init__(self) -> None:
        import socket

        import apprise
        import requests

        # What a mail server is told of who we are. smtplib would look it up.
        socket.getfqdn = lambda *_: "canary.invalid"
        # Where a receiver says that it is elsewhere, that is for whoever wrote the URL to see.
        requests.Session.get_redirect_target = lambda *_: None  # type: ignore[method-assign]
        self._asset = apprise.AppriseAsset(
            app_id="canary", app_desc="canary", app_url="", plugin_paths=[], storage_mode="memory", secure_logging=True
        )
        self._apprise = apprise
        # The first URL makes it load its services, which takes as long as all else here: that is part of the start, and of no message.
        apprise.Apprise.instantiate("json://localhost", asset=self._asset)

    def send(self, url: str, title: str, body: str, level: str, seconds: float) -> str:
        """What came of it, as a constant."""
        plugin = self._apprise.Apprise.instantiate(url, asset=self._asset)
        if plugin is None:
            return "InvalidUrl"
        # Whatever the URL says.
        plugin.verify_certificate = True
        plugin.socket_connect_timeout = plugin.socket_read_timeout = seconds
        sent = plugin.notify(
            body=body,
            title=title,
            notify_type=self._apprise.NotifyType(level),
            body_format=self._apprise.NotifyFormat.TEXT,
        )
        return "Delivered" if sent else "Failed"


def _bound() -> None:
    """No more memory than the program has, and ROOM; no files."""
    import resource

    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
