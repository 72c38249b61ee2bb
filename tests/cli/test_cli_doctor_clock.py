"""`canary doctor` reads the API server's clock from the Date of any answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import respx

from canary.cli import examine
from canary.cli.health import Level
from canary.kube.connection import Connection, load

SERVER = "https://api.example:6443"


@pytest.fixture
async def connection() -> Connection:
    return await load(server=SERVER, token="of-nobody")


async def asked(connection: Connection, answer: httpx.Response | Exception) -> tuple[Level, str, httpx.Request]:
    """What is said of the clock when the server answers this, and what it was asked."""
    with respx.mock(base_url=SERVER) as server:
        route = server.get("/version").mock(
            **{"side_effect" if isinstance(answer, Exception) else "return_value": answer}
        )
        said = await examine._clock(connection)
    return said.level, said.message, route.calls.last.request


async def test_a_refusal_has_a_date_too(connection: Connection) -> None:
    """The question carries no credentials, and a 401 answers it as well as anything."""
    late = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    level, words, request = await asked(connection, httpx.Response(401, headers={"Date": late}))
    assert level is Level.DOUBT
    assert "ahead of this machine's" in words
    assert "authorization" not in request.headers


@pytest.mark.parametrize("headers", [{}, {"Date": "half past nine"}])
async def test_an_answer_without_a_time_is_a_doubt(connection: Connection, headers: dict[str, str]) -> None:
    """No Date, or one that is none: nobody knows, and nobody guesses."""
    level, words, _ = await asked(connection, httpx.Response(200, headers=headers))
    assert (level, words) == (Level.DOUBT, "the API server's answers do not say what time it is")


async def test_a_server_that_cannot_be_reached_is_a_doubt(connection: Connection) -> None:
    """With the words of whatever went wrong."""
    level, words, _ = await asked(connection, httpx.ConnectError("connection refused"))
    assert level is Level.DOUBT
    assert words.startswith("the API server's time cannot be read")
    assert "connection refused" in words
