"""What a process may not do that runs somebody else's code on a tenant's URL: an audit hook, which nothing in it can take away.

apprise opens connections by itself (requests, smtplib), follows redirects, and some of its services read files that a URL names.
So it runs in a process of its own, in which each look-up of a name, each connection and each file is looked at before it
happens: whatever the library does, nothing is sent to a host that is not both allowed and named by the Secret, nothing is read that is not
a part of the program, and no other program is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from canary.metrics.hosts import Hosts

_FORBIDDEN = frozenset(
    {
        *(
            "subprocess.Popen",
            "os.exec",
            "os.fork",
            "os.forkpty",
            "os.posix_spawn",
            "os.system",
            "os.spawn",
            "pty.spawn",
        ),
        *("socket.bind", "socket.sendto", "socket.sendmsg"),
        *("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
        *(
            "os.remove",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "os.link",
            "os.symlink",
            "os.truncate",
            "os.chmod",
            "os.chown",
        ),
        *("ctypes.dlopen", "ctypes.dlsym", "sqlite3.connect"),
    }
)
"""What nobody needs who sends a message: other programs, datagrams, look-ups that say no name before, changes of files."""
_READ_ONLY = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)


class Refused(PermissionError):
    """What was about to happen may not."""


class Guard:
    """Refuses everything from `install` on, but for what `open_to` allows until `close`."""

    def __init__(self, readable: Iterable[Path]) -> None:
        self._readable = tuple(dict.fromkeys(os.path.realpath(path) for path in readable))
        self._allowed, self._meant = Hosts(), Hosts()
        self._names: set[str] = set()
        self.refusals: list[str] = []
        """Why a host was refused since `open_to`, as constants."""

    def install(self) -> None:
        """For the rest of this process' life."""
        sys.addaudithook(self._audit)

    def open_to(self, allowed: Hosts, meant: Hosts) -> None:
        """Hosts that the operator allows, and those that the Secret names: what is in both may be reached."""
        self._allowed, self._meant = allowed, meant
        self._names.clear()
        self.refusals.clear()

    def close(self) -> None:
        """Nothing may be reached any more."""
        self._allowed, self._meant = Hosts(), Hosts()
        self._names.clear()

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo":
            self._look_up(args[0], args[1])
        elif event in {"socket.connect", "socket.connect_ex"}:
            self._connect(args[1])
        elif event == "open":
            self._open(args[0], args[2])
        elif event in _FORBIDDEN:
            raise Refused(f"refused: {event}")

    def _look_up(self, host: Any, port: Any) -> None:
        name = _text(host)
        address = _address(name, _port(port))
        if not self._meant.names_it(address) or self._meant.any_name:
            self._refuse("SecretForOthers")
        if not self._allowed.may_name(address):
            self._refuse("NotAllowed")
        self._names.add(name)

    def _connect(self, where: Any) -> None:
        if not isinstance(where, tuple) or len(where) < 2:  # a socket of this machine
            self._refuse("NotAllowed")
        peer, port = _text(where[0]), _port(where[1])
        if not any(
            self._meant.names_it(_address(name, port)) and not self._allowed.refusal(name, port, peer)
            for name in self._names
        ):
            self._refuse("NotAllowed")

    def _open(self, path: Any, flags: Any) -> None:
        if isinstance(path, int):
            return  # something that is open already
        if isinstance(flags, int) and flags & ~_READ_ONLY:
            raise Refused("refused: nothing is written")
        real = os.path.realpath(_text(path))
        if not any(real == root or real.startswith(f"{root}{os.sep}") for root in self._readable):
            raise Refused("refused: it is no part of the program")

    def _refuse(self, reason: str) -> None:
        self.refusals.append(reason)
        raise Refused(f"refused: {reason}")


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _port(value: Any) -> int:
    text = _text(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def _address(host: str, port: int) -> str:
    """As hosts are asked about: their port matters, whatever is spoken there."""
    host = host.lower().rstrip(".").partition("%")[0]
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def program() -> list[Path]:
    """Where the parts of this program are, and what any program reads about names, certificates and time."""
    import apprise
    import certifi

    parts = [Path(sys.prefix), Path(sys.base_prefix) / "lib", Path(os.__file__).parent]
    parts += [Path(apprise.__file__).parent, Path(certifi.where()).parent, Path(__file__).parents[1]]
    parts += map(Path, ("/etc/ssl", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom"))
    return [*parts, *(Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages")))]
