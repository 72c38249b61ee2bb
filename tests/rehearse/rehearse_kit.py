"""Rollouts to rehearse, and a Prometheus whose counters rise evenly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from aiohttp.typedefs import Handler

from canary.checks.comparable import with_alphas
from canary.checks.resolve import ResolvedCheck, resolve
from canary.model.rollout import RolloutSpec

Json = dict[str, Any]

COMPARE: Json = {
    "name": "errors",
    "interval": "10s",
    "compare": {
        "prometheus": {
            "requests": 'requests_total{service="{{ backend.service }}"}',
            "failures": 'requests_total{service="{{ backend.service }}",code="500"}',
        },
        "lag": "20s",  # so that it looks on its interval
    },
}
LATENCY: Json = {
    "name": "latency",
    "interval": "10s",
    "initialDelay": "10s",
    "compare": {
        "prometheus": {"buckets": 'took_bucket{service="{{ backend.service }}"}'},
        "slowerThan": ["100ms", "300ms"],
        "tolerance": 1.2,
        "minRequests": 100,
        "lag": "20s",
    },
}
LIMIT: Json = {
    "name": "rate",
    "interval": "10s",
    "window": "1m",
    "prometheus": {"query": 'rate(requests_total{service="{{ canary.service }}"}[{{ window }}])'},
    "threshold": {"max": 1},
}


def steps(*shares: int, hold: str = "5m") -> list[Json]:
    return [{"weight": share, "hold": hold} for share in shares]


def document(plan: list[Json], *checks: Json, **more: Any) -> Json:
    backends = {role: {"service": role, "port": 80} for role in ("stable", "canary")}
    spec = {"routes": [{"name": "shop"}], **backends, "steps": plan, "checks": list(checks), **more}
    return {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": spec}


def spec_of(plan: list[Json], *checks: Json, **more: Any) -> RolloutSpec:
    return RolloutSpec.model_validate(document(plan, *checks, **more)["spec"])


def checks_of(spec: RolloutSpec) -> tuple[ResolvedCheck, ...]:
    return with_alphas((resolve(check, None, "spec.checks") for check in spec.checks), spec)


def written(folder: Path, *documents: Json) -> str:
    file = folder / "rollout.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return str(file)


@asynccontextmanager
async def prometheus_of(
    rates: Mapping[str, float | Mapping[str, float]],
    now: float = 1_700_000_000.0,
    hanging: asyncio.Event | None = None,
    shown: str = "",
) -> AsyncIterator[str]:
    """A server at whose clock it is `now`, with a counter for each query that rises so much a second since long ago, or one by `le`.

    `hanging` is set as soon as a range is asked for, which is never answered then. Who does not show `shown` as Authorization is told
    what they have shown, and nothing else.
    """

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if shown and given != shown:
            return web.json_response({"status": "error", "errorType": "auth", "error": f"not {given}"}, status=401)
        return await handler(request)

    async def answer(request: web.Request) -> web.Response:
        query, at = request.query["query"], float(request.query.get("time", now))
        if query == "time()":
            return _success("scalar", [now, str(now)], now)
        series = [
            {"metric": labels, "value": [at, str(rate * (at - now + 10_000_000))]}
            for labels, rate in _series(rates, query)
        ]
        return _success("vector", series, now)

    async def ranged(request: web.Request) -> web.Response:
        if hanging is not None:
            hanging.set()
            await asyncio.Event().wait()
        query, begin, end, step = (request.query[name] for name in ("query", "start", "end", "step"))
        at = range(int(begin), int(end) + 1, int(step))
        series = [
            {"metric": labels, "values": [[one, str(rate * (one - now + 100_000_000))] for one in at]}
            for labels, rate in _series(rates, query)
        ]
        return _success("matrix", series)

    app = web.Application(middlewares=[door])
    app.router.add_get("/api/v1/query", answer)
    app.router.add_get("/api/v1/query_range", ranged)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _series(rates: Mapping[str, float | Mapping[str, float]], query: str) -> list[tuple[dict[str, str], float]]:
    found = rates.get(query)
    if isinstance(found, Mapping):
        return [({"instance": "a", "le": le}, rate) for le, rate in found.items()]
    return [] if found is None else [({"instance": "a"}, found)]


def _success(kind: str, result: Any, now: float | None = None) -> web.Response:
    """`now`: what time it is there."""
    sent = {} if now is None else {"Date": formatdate(now, usegmt=True)}
    return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}}, headers=sent)
