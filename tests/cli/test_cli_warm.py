"""What the tests run with its imports made beforehand behaves as what people run."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from cli_kit import COLD, canary
from warm_python import WarmPython

NOWHERE = {"KUBECONFIG": "/nowhere"}
ROLLOUT = """
apiVersion: canary.dev/v1alpha1
kind: Rollout
metadata: {name: größe, namespace: team}
spec: {}
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("status", "--help"),
        ("nonsense",),
        ("status", "shop"),
        ("list", "--debug"),
        ("lint", "rollout.yaml"),
        ("lint", "rollout.yaml", "-o", "json"),
        ("lint", "-"),
        ("sandbox", "nonsense"),
    ],
    ids=" ".join,
)
async def test_it_says_and_ends_as_a_process_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Both streams and the exit code are the same, in the folder and the environment of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rollout.yaml").write_text(ROLLOUT, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    cold = await canary(*words, command=COLD, PYTHONPATH=f"{root}:{root}/sandbox", **NOWHERE)
    warm = await canary(*words, **NOWHERE)
    assert (warm.code, warm.out, _without_frames(warm.err)) == (cold.code, cold.out, _without_frames(cold.err))


def _without_frames(text: str) -> list[str]:
    """A traceback begins where Python began, which is of no interest."""
    return [line for line in text.splitlines() if not line.startswith(" ")]


async def test_each_run_has_the_environment_that_it_is_given() -> None:
    """And nothing of what another one was given, or has set."""
    by_word, by_variable, plain = await asyncio.gather(
        canary("list", "--debug", **NOWHERE), canary("list", CANARY_DEBUG="1", **NOWHERE), canary("list", **NOWHERE)
    )
    assert ["Traceback" in ran.err for ran in (by_word, by_variable, plain)] == [True, True, False]


async def test_what_does_not_end_is_killed(tmp_path: Path) -> None:
    """Whoever waits for it is told in time, and it does not go on."""
    gone = asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(wait_for_the_end, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        config = {
            "clusters": [{"name": "silent", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "me"}}],
            "current-context": "silent",
        }
        (tmp_path / "config").write_text(json.dumps(config), encoding="utf-8")
        python = WarmPython(os.environ)
        try:
            with pytest.raises(TimeoutError):
                await python.run(["list"], {**os.environ, "KUBECONFIG": str(tmp_path / "config")}, 1.0)
            await asyncio.wait_for(gone.wait(), 20)
        finally:
            python.close()
