"""The `requests` session that prometheus-api-client gets from us: bounded in time and size, and it goes where it is told.

The client's own session follows redirects, reads answers of any size, lets a server drip bytes for ever, and reads proxies
and ~/.netrc from the environment. This one does none of that, and keeps the last answer of each thread, since the client
drops the type of the result and the server's words about a refusal.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests

from canary.metrics.connecting import GuardedAdapter
from canary.metrics.hosts import Hosts
from canary.metrics.parsing import MAX_PARTS, AnswerTooLarge, parsed
from canary.metrics.server_time import date_of

_CHUNK = 64 * 1024


class BoundedSession(requests.Session):
    """Every request ends before `deadline()` and with at most `max_bytes` and `max_parts` of body, or raises. It is parsed once.

    `hosts` are those to which a name may lead (None: anywhere, for a person at a terminal).

    Raises PeerRefused, requests.Timeout, other requests.RequestException, AnswerTooLarge.
    """

    def __init__(
        self,
        *,
        pool_size: int,
        max_bytes: int,
        max_parts: int = MAX_PARTS,
        clock: Callable[[], float] = time.monotonic,
        hosts: Hosts | None = None,
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"  # or a small answer could unpack to a large one
        self.max_bytes = max_bytes
        self.max_parts = max_parts
        self._clock = clock
        self._thread = threading.local()
        self._adapter = GuardedAdapter(pool_size, hosts)
        for prefix in list(self.adapters):
            self.mount(prefix, self._adapter)

    def mount(self, prefix: str, adapter: Any) -> None:
        """Whatever adapter comes, ours is used: no retries of its own, and a connection for every worker."""
        super().mount(prefix, getattr(self, "_adapter", adapter))

    def trust(self, context: ssl.SSLContext | None) -> None:
        """Verify with this from now on; None: by the bundled authorities. Connections that are open are not kept."""
        self._adapter.trust(context)

    def set_deadline(self, deadline: float) -> None:
        """When this thread's requests must be over, by the clock."""
        self._thread.deadline = deadline
        self._thread.answer = None

    def answered(self) -> tuple[int, dict[str, Any]] | None:
        """Code and JSON object (empty if it is none) of this thread's last answer; None when there was none."""
        answer: tuple[int, dict[str, Any]] | None = self._thread.answer
        return answer

    def dated(self) -> tuple[datetime | None, float]:
        """The Date of this thread's last answer, and for how many seconds a cache has had it (0: none says so), as far as they can be read."""
        return date_of({"date": self._thread.date or ""}), _seconds(self._thread.age or "")

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # type: ignore[override] # passes all on
        """As `requests.Session.request`, within the bounds."""
        deadline: float = self._thread.deadline
        left = deadline - self._clock()
        if left <= 0:
            raise requests.Timeout("no time left")
        kwargs |= {"timeout": (left, left), "allow_redirects": False, "stream": True}
        response = super().request(method, url, **kwargs)
        try:
            response._content = self._read(response, deadline)  # noqa: SLF001 - the slot that `content` reads
        except BaseException:
            response.raw.close()  # a connection with an unread rest must not go back to the pool
            raise
        response._content_consumed = True  # noqa: SLF001 - so that the connection is kept, not closed
        response.close()
        body = parsed(response.content, self.max_parts)
        self._thread.date, self._thread.age = response.headers.get("Date"), response.headers.get("Age")
        self._thread.answer = response.status_code, body if isinstance(body, dict) else {}
        response.json = lambda **_: body  # type: ignore[method-assign] # once is enough
        return response

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        body = bytearray()
        try:
            # read1 returns what has come so far, so that the deadline is looked at even if the server drips.
            while chunk := response.raw.read1(_CHUNK):
                body += chunk
                if len(body) > self.max_bytes:
                    raise AnswerTooLarge(f"is larger than {self.max_bytes} bytes")
                if self._clock() > deadline:
                    raise requests.Timeout("the answer did not end in time")
        except ReadTimeoutError as error:
            raise requests.Timeout(str(error)) from error
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError(str(error)) from error
        return bytes(body)


def _seconds(age: str) -> float:
    """An Age (RFC 9111, section 5.1): seconds as digits, of which nine are thirty years."""
    return float(age[:9]) if age.isascii() and age.isdigit() else 0.0
