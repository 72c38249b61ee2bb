"""`python -m bench.comparer`: what it costs to compare a mirrored request.

The comparer is the program itself, in a process of its own; another one plays both backends; this one mirrors. What counts is
the processor time of the comparer for each compared request, as /metrics says it: time on the clock is shared with the
processes that keep it busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

GOAL = 1.0
"""Milliseconds of processor time for each compared request, at most: a thousand a second and core."""
FIELDS = 60
CONNECTIONS = 24
"""Requests under way at one time."""
RUNS = (
    ("equal", "all three answers are the same, byte for byte"),
    ("noisy", "a time and an id are new in every answer"),
    ("changed", "and the canary has another type at one field"),
)


@dataclass(frozen=True, slots=True)
class Backend:
    """Answers anything with a JSON document of so many fields."""

    kind: str

    def document(self, *, canary: bool) -> Json:
        """Nested as documents are: half of the fields are in a list of five."""
        items = [{"id": f"item-{at}", "price": 1.25 * at, "stock": at, "tags": ["a", "b"]} for at in range(5)]
        plain = {f"field{at}": (at if at % 2 else f"value of the field {at}") for at in range(FIELDS - 30)}
        document: Json = {**plain, "items": items, "total": 5, "next": None, "cached": False, "now": 0.0, "id": ""}
        if self.kind != "equal":
            document |= {"now": time.time(), "id": f"{random.getrandbits(64):x}"}
        if self.kind == "changed" and canary:
            document["total"] = "5"
        return document

    async def serve(self) -> None:
        """Print both ports, then answer until this process is ended."""
        servers = [await asyncio.start_server(self._connection(canary=canary), "127.0.0.1") for canary in (False, True)]
        print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)  # noqa: T201
        await asyncio.Event().wait()

    def _connection(self, *, canary: bool) -> Any:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    body = json.dumps(self.document(canary=canary)).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    writer.write(head.encode() + body)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        return answer


@contextmanager
def _child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.terminate()


def measure(kind: str, seconds: float) -> Json:
    """Mirror for so long; processor time for each compared request in milliseconds, and what was counted."""
    with _child("bench.comparer", "--backend", kind) as backends:
        stable, canary = json.loads(backends.stdout.readline() if backends.stdout else "[]")
        urls = ("--stable", f"http://127.0.0.1:{stable}", "--canary", f"http://127.0.0.1:{canary}")
        ports = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json")
        with _child(
            "canary", "comparer", "run", *urls, *ports, "--max-rps", "0", "--concurrency", str(CONNECTIONS)
        ) as comparer:
            url, admin = _addresses(comparer)
            asyncio.run(_mirror(url, 1.0, comparer_admin=admin))  # connections are made, baselines known
            before, cpu, began = _results(admin), _cpu(admin), time.monotonic()
            asyncio.run(_mirror(url, seconds, comparer_admin=admin))
            after, spent, took = _results(admin), _cpu(admin) - cpu, time.monotonic() - began
    compared = after["compared"] - before["compared"]
    return {
        "kind": kind,
        "compared": compared,
        "compared_per_second": compared / took,
        "cpu_ms": 1000 * spent / compared,
        "different": after["different"],
        "paths": len(after["paths"]),
        "dropped": after["dropped"],
    }


def _addresses(comparer: subprocess.Popen[str]) -> tuple[str, str]:
    for line in comparer.stderr or ():
        words = str(json.loads(line)["message"]).replace(",", "").split()
        urls = [word for word in words if word.startswith("http://")]
        if len(urls) == 4:
            return urls[0], urls[3]
    raise RuntimeError("the comparer did not come up")


async def _mirror(url: str, seconds: float, *, comparer_admin: str) -> None:
    """Send requests side by side, so many that about as many comparisons are under way."""
    host, port = url.removeprefix("http://").split(":")
    until = time.monotonic() + seconds
    head = b"GET /shop/items?page=2 HTTP/1.1\r\nHost: shop.example.com-shadow\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: session=a-cookie\r\nX-Request-Id: 8c1e\r\n\r\n"

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < until:
            writer.write(head)
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.01)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    for _ in range(100):
        if "under_way 0.0" in await asyncio.to_thread(_get, f"{comparer_admin}/metrics"):
            return
        await asyncio.sleep(0.05)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own, on loopback
        return str(answer.read().decode())


def _results(admin: str) -> Json:
    found: Json = json.loads(_get(f"{admin}/results"))
    return found


def _cpu(admin: str) -> float:
    lines = _get(f"{admin}/metrics").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total "))


def table(results: list[Json]) -> str:
    """Markdown, a row for each kind of answers. What misses the goal is bold."""
    rows = ["| answers | processor, each | per second and core | goal |", "|---|---|---|---|"]
    what = dict(RUNS)
    for result in results:
        cost = f"{result['cpu_ms']:.2f} ms"
        shown = cost if result["cpu_ms"] <= GOAL else f"**{cost}**"
        rows.append(f"| {what[result['kind']]} | {shown} | {1000 / result['cpu_ms']:,.0f} | ≥ {1000 / GOAL:,.0f} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure each kind of answers, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.comparer", description="What comparing costs, as JSON.")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--repeat", type=int, default=1, help="measure so often, and give the median")
    parser.add_argument("--table", action="store_true", help="print a Markdown table instead of the JSON")
    parser.add_argument("--backend", choices=[kind for kind, _ in RUNS], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.backend:
        asyncio.run(Backend(options.backend).serve())
        return
    results = []
    for kind, _ in RUNS:
        runs = [measure(kind, options.seconds) for _ in range(options.repeat)]
        results.append(runs[-1] | {"cpu_ms": statistics.median(run["cpu_ms"] for run in runs)})
    sys.stdout.write((table(results) if options.table else json.dumps(results, indent=2)) + "\n")


if __name__ == "__main__":
    main()
