"""A file that changes while we run, and what it says now.

That is how Kubernetes gives a pod what changes: a Secret or a projected token is exchanged by swapping a symlink. So nobody is
told; whoever wants to know looks.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from canary.errors import ConfigError

log = logging.getLogger("canary.files")

T = TypeVar("T")

_LARGEST = 1024 * 1024  # bytes; a bundle of every public authority has a quarter of that
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")


class WatchedFile(Generic[T]):
    """A file, and what it says. `parse` raises ValueError, in words that give away nothing of the file. Thread-safe.

    A file that cannot be read or understood while we run keeps what it said before, and the log says so.

    Raises ConfigError: it cannot be read or understood at the start; `setting` is what names it.
    """

    def __init__(self, path: str, setting: str, parse: Callable[[str], T]) -> None:
        self._path, self.setting, self._parse = path, setting, parse
        self._lock = threading.Lock()
        self._trouble = ""
        try:
            self._seen = self._identity()
            self._value = self._parse(self._read())
        except (OSError, ValueError) as error:
            advice = "mount it or correct the path, or leave the setting out"
            raise ConfigError(f"cannot use {path} ({setting}): {_words(error)}; {advice}") from error

    def current(self) -> T:
        """What the file says now, or said last."""
        with self._lock:
            trouble = ""
            try:
                now = self._identity()
                if now != self._seen or self._trouble:
                    self._value = self._parse(self._read())
                    self._seen = now
            except (OSError, ValueError) as error:
                trouble = _words(error)
            if trouble and trouble != self._trouble:
                log.warning("%s %s: %s; going on with what it said before", self.setting, self._path, trouble)
            elif self._trouble and not trouble:
                log.info("%s %s is readable again", self.setting, self._path)
            self._trouble = trouble
            return self._value

    def _identity(self) -> tuple[int, ...]:
        """Changes when the file is written, and when a symlink on the way to it is swapped."""
        found = Path(self._path).stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> str:
        with Path(self._path).open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST} bytes")
        return content.decode(errors="replace")


def authorities(text: str) -> ssl.SSLContext:
    """What believes those whose certificates these authorities (PEM) have signed, and nobody else. Raises ValueError."""
    certificates = _CERTIFICATE.findall(text)
    if not certificates:
        raise ValueError("it holds no PEM certificate")
    try:
        return ssl.create_default_context(cadata="\n".join(certificates))
    except ssl.SSLError as error:
        raise ValueError(f"a certificate in it cannot be read ({error.reason or error})") from error


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
