"""What of a mirrored request is sent on."""

from __future__ import annotations

import pytest

from canary.comparer.copies import LOOP, Copy, headers_of


@pytest.mark.parametrize(
    ("received", "sent"),
    [
        ("shop.example.com-shadow", "shop.example.com"),
        ("shop.example.com-shadow:8080", "shop.example.com:8080"),
        ("shop.example.com:8080-shadow", "shop.example.com:8080"),
        ("shop.example.com", "shop.example.com"),
        ("my-shadow.example.com", "my-shadow.example.com"),
        ("[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_shadow_is_taken_off_the_host(received: str, sent: str) -> None:
    """Backends see the host that the user asked for."""
    assert headers_of([("Host", received)])[0] == ("host", sent)


def test_headers_of_the_connection_stay_behind() -> None:
    """Those that are hop by hop, and those that Connection names; everything else goes along, as often as it is there."""
    received = [
        ("Host", "shop"),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
        ("Proxy-Authorization", "Basic eA=="),
        ("Content-Length", "3"),
        ("Expect", "100-continue"),
        ("Accept-Encoding", "gzip, br"),
        ("Authorization", "Bearer token"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("X-Request-Id", "7"),
    ]
    assert headers_of(received) == (
        ("host", "shop"),
        ("authorization", "Bearer token"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-request-id", "7"),
        ("accept-encoding", "identity"),
        (LOOP, "1"),
    )


def test_a_copy_does_not_show_what_is_in_it() -> None:
    """Whoever logs one by mistake logs no credentials, no path and no body."""
    assert repr(Copy("GET", "/secret?token=1", (("cookie", "a=1"),), b"body")) == "Copy(GET)"
