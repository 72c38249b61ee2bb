"""Reads from a Prometheus what traffic there is now, by the counters of the comparisons themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from canary.checks.judges.buckets import Told
from canary.checks.judges.counters import Snapshot, plain
from canary.checks.judges.slower import Slower
from canary.checks.queries import BACKENDS, Backend, check_query
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources.buckets import Buckets
from canary.checks.sources.prometheus import Prometheus as Source
from canary.cli.exits import CliError, ExitCode
from canary.cli.lending import Lent
from canary.cli.rehearsal import Prometheus, Subject, spoken
from canary.errors import RenderError
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, NoData, Queued, Sample, Unreachable
from canary.rehearse.drawing import Traffic
from canary.rehearse.measured import READINGS, Reading, Timings, timings_of, traffic_of

TIMEOUT = 10.0


class _Silent(Exception):
    """Why nothing is known, in words."""


async def current(
    options: Prometheus, subject: Subject, checks: Sequence[ResolvedCheck], back: float, lent: Mapping[str, Lent]
) -> tuple[dict[str, Traffic], dict[str, str]]:
    """The traffic of each comparison over the last `back` seconds, by name; and why it is not known, where it is not.

    `lent` is whom a check asks, and with what, by name, where that is not the Prometheus of the options.

    Raises CliError, ConfigError: the address or the credentials cannot be used.
    """
    found: dict[str, Traffic] = {}
    unknown: dict[str, str] = {}
    try:
        own = options.prometheus_url and PrometheusProvider(
            options.prometheus_url, None, credentials=options.credentials()
        )
    except ValueError as error:
        raise CliError(f"{error}; write for example http://localhost:9090", ExitCode.USAGE) from error
    for check in checks:
        by = lent.get(check.name)
        provider = own if by is None else PrometheusProvider(by.address, None, credentials=by)
        try:
            if provider:
                found[check.name] = await _traffic(provider, subject, check, back)
        except (_Silent, RenderError, ValueError) as why:
            hint = (
                ""
                if by or check.source.auth is None
                else f"; --secrets shows Secret {check.source.auth.secret} to its address"
            )
            unknown[check.name] = f"{why}{hint}"
        finally:
            if provider and by is not None:
                await provider.close()
    if own:
        await own.close()
    return found, unknown


async def _traffic(provider: PrometheusProvider, subject: Subject, check: ResolvedCheck, back: float) -> Traffic:
    if check.source.LANGUAGE != "PromQL":
        raise _Silent(
            f"its counters are asked of {check.source.PROVIDER}, where nobody keeps the past: say what there is with --requests-per-second and "
            "--error-rate"
        )
    sources = {
        (backend, path[-1]): part.text
        for backend in BACKENDS
        for path, part in check_query(
            check, subject.spec, subject.namespace, subject.name, weight=1, backend=backend
        ).parts
    }
    # By the clock of who answers, which nothing else names that any Prometheus has.
    now = await _ask(provider, "time()", None)
    if now is None:
        raise _Silent("the Prometheus does not say what time it is")
    end = next(iter(plain(now).values()))
    moments = [end - back + back * number / (READINGS - 1) for number in range(READINGS)]
    series = [{key: await _ask(provider, text, at) or {} for key, text in sources.items()} for at in moments]
    each = list(zip(moments, series, strict=True))
    rule, source = check.judge, check.source
    if isinstance(rule, Slower) and isinstance(source, Buckets):
        timed = [Timings(at, one["stable", "buckets"], one["canary", "buckets"]) for at, one in each]
        found, leading = timings_of(timed, rule.bounds, source.unit), "buckets"
    else:
        counted = [Reading(at, _snapshot(one, "stable"), _snapshot(one, "canary")) for at, one in each]
        found, leading = traffic_of(counted), "requests"
    if found is None:
        query = " ".join(sources["stable", leading].split())
        raise _Silent(
            f"no requests of stable were counted over the last {spoken(back)} by {query}: correct the query, look further back "
            "with --over, or say what there is with --requests-per-second and --error-rate"
        )
    return found


def _snapshot(series: dict[tuple[Backend, str], Told], backend: Backend) -> Snapshot:
    return Snapshot(plain(series[backend, "requests"]), plain(series[backend, "failures"]))


async def _ask(provider: PrometheusProvider, text: str, instant: float | None) -> Told | None:
    """All series of an answer; None: there are none. Raises _Silent."""
    query = replace(Query(Source(text), timeout=TIMEOUT, many=True, counters=True), instant=instant)
    found = await provider.measure(query, datetime.now(UTC))
    match found:
        case Sample(vector=vector) if vector is not None:
            return vector.series
        case NoData():
            return None
        case Unreachable() | Malformed() | Queued():
            raise _Silent(f"{found.message} (asked for {' '.join(text.split())})")
        case _:
            raise _Silent(f"no series came back for {' '.join(text.split())}")
