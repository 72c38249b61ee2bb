"""What is asked of databases besides Prometheus, as it is rendered: nothing that is filled in changes whom or what is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.render import variables
from canary.checks.sources import Source, blamed, of_platform
from canary.checks.sources.auth import Auth
from canary.checks.sources.cloudwatch import Cloudwatch, Metric
from canary.checks.sources.datadog import KEYS, Datadog
from canary.checks.sources.graphite import Graphite
from canary.checks.sources.influxdb import Influxdb
from canary.errors import RenderError
from canary.model.cloudwatch import CloudwatchSource
from canary.model.databases import DatadogSource


def names(**args: str) -> dict[str, Any]:
    backend = {"service": "shop-canary", "namespace": "team-shop", "port": 80}
    return variables(
        stable={**backend, "service": "shop-stable"},
        canary=backend,
        namespace="team-shop",
        rollout="shop",
        route="shop",
        window="5m",
        weight=10,
        args=args,
    )


def influx(query: str, address: str = "https://influx.example.com") -> Influxdb:
    return Influxdb(query, address, "shop")


def cloudwatch(service: str, expression: str | None = None, **more: Any) -> Cloudwatch:
    metric = Metric("errors", "Shop", "Errors", "Sum", (("Zone", "a"), ("Service", service)))
    return Cloudwatch("eu-west-1", (metric,), expression, 60, Auth("keys", signs=True), **more)


@pytest.mark.parametrize(
    "source",
    [
        Datadog("sum:errors{service:{{ canary.service }}}", "datadoghq.eu", Auth("keys", KEYS)),
        influx("SELECT mean(took) FROM r WHERE service = '{{ canary.service }}'"),
        Graphite("summarize(errors.{{ canary.service }}, '5min')", "https://graphite.example.com", Auth("keys")),
        cloudwatch("{{ canary.service }}"),
        cloudwatch("shop", "SELECT SUM(Errors) FROM Shop WHERE Service = '{{ canary.service }}'"),
    ],
)
def test_names_are_filled_in_and_the_secret_is_of_the_namespace(source: Source) -> None:
    """As everywhere; a Secret that the platform names stays its own."""
    made = source.rendered(names())
    assert "shop-canary" in made.text
    assert source.names() == {"canary.service"}
    if source.auth is not None:
        assert made.auth is not None
        assert made.auth.namespace == "team-shop"
        assert made.auth.signs == source.auth.signs
        of_the_platform = of_platform(source).rendered(names()).auth
        assert of_the_platform is not None
        assert (of_the_platform.platform, of_the_platform.namespace) == (True, "")
    assert ((path, part),) == made.parts if (path := made.FIELD) and (part := made) else None


def test_windows_are_seconds() -> None:
    """At least one."""
    graphite = Graphite("a", "https://a").rendered(names())
    assert graphite.window == 300
    assert Graphite("a", "https://a").rendered({**names(), "window": "1ms"}).window == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("DROP DATABASE shop", "no SELECT"),
        ("SELECTED", "no SELECT"),
        ("SELECT 1 FROM a; DROP DATABASE shop", "semicolon"),
        ("SELECT a INTO b FROM c", "INTO"),
        ("select a\ninto b from c", "INTO"),
        ("SELECT a/**/INTO/**/b FROM c", "INTO"),
        ('SELECT mean(v)*1.0INTO "b" FROM c', "INTO"),
        ("SELECT v*2.INTO b FROM c", "INTO"),
        ("SELECT v INTO\u00e9 FROM c", "INTO"),
        ("SELECT v FROM c WHERE time > now() - 1hINTO b", "INTO"),
    ],
)
def test_influxdb_is_only_read(query: str, words: str) -> None:
    """A check asks, and changes nothing."""
    with pytest.raises(RenderError, match=words) as caught:
        influx(query).rendered(names())
    assert blamed(influx(query), caught.value) == "influxdb.query"


@pytest.mark.parametrize("word", ["mintoken", "pinto", "into_cache", "x_into", "intoxicated"])
def test_names_that_only_have_the_word_in_them_may_be_asked_for(word: str) -> None:
    query = f'SELECT mean("{word}") FROM shop'
    assert influx(query).rendered(names()).query == query


@given(value=st.text(st.characters(exclude_characters="\"'`\\", min_codepoint=32, max_codepoint=0x2FF), max_size=40))
def test_no_argument_makes_it_write(value: str) -> None:
    """Whatever is filled in, at whichever place: one SELECT, or nothing is asked."""
    for template in ("SELECT {{ args.x }} FROM a", "SELECT b FROM {{ args.x }}"):
        try:
            text = influx(template).rendered(names(x=value)).query
        except RenderError:
            continue
        assert text.lower().startswith("select ")
        assert ";" not in text
        assert "into" not in [word.strip("(),*/") for word in text.lower().split()]


@pytest.mark.parametrize(
    "source",
    [
        influx("SELECT a FROM b", "https://{{ args.x }}/"),
        Graphite("a", "https://{{ args.x }}.example.com"),
        cloudwatch("a", address="https://{{ args.x }}"),
    ],
)
def test_whom_is_written_out(source: Source) -> None:
    """No argument chooses whom the controller asks, and the field says so."""
    with pytest.raises(RenderError, match="written out") as caught:
        source.rendered(names(x="evil.example"))
    assert blamed(source, caught.value) == f"{source.FIELD[0]}.address"


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (cloudwatch("{{ nothing }}"), "cloudwatch.metrics[0].dimensions[1].value"),
        (cloudwatch("a", "errors / {{ nothing }}"), "cloudwatch.expression"),
    ],
)
def test_the_field_that_is_to_blame_is_named(source: Cloudwatch, field: str) -> None:
    """One of several texts."""
    with pytest.raises(RenderError, match="nothing") as caught:
        source.rendered(names())
    assert blamed(source, caught.value) == field


@pytest.mark.parametrize("name", ["{{ nope", "{{ no.such"])
def test_a_tag_that_is_none_is_found_before_anything_is_asked(name: str) -> None:
    with pytest.raises(RenderError) as caught:
        cloudwatch(name).names()
    assert blamed(cloudwatch(name), caught.value) == "cloudwatch.metrics[0].dimensions[1].value"


@pytest.mark.parametrize(
    ("region", "origin"),
    [
        ("eu-west-1", "https://monitoring.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "https://monitoring.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://monitoring.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_a_region_has_its_own_server(region: str, origin: str) -> None:
    """And no region leads anywhere else."""
    asked = {"region": region, "expression": "SELECT 1", "auth": {"secretRef": {"name": "k"}}}
    assert Cloudwatch.of(CloudwatchSource.model_validate(asked)).origin == origin
    for bad in ("eu-west-1.evil.com/", "eu-west-1@evil.com", "evil.com#", "EU-WEST-1", ""):
        with pytest.raises(ValueError, match="region"):
            CloudwatchSource.model_validate({**asked, "region": bad})


@pytest.mark.parametrize(
    ("period", "good"), [("1m", True), ("10s", True), ("24h", True), ("90s", False), ("0m", False), ("25h", False)]
)
def test_periods_are_those_that_cloudwatch_has(period: str, good: bool) -> None:
    asked = {"region": "eu-west-1", "expression": "SELECT 1", "auth": {"secretRef": {"name": "k"}}, "period": period}
    if good:
        CloudwatchSource.model_validate(asked)
    else:
        with pytest.raises(ValueError, match="period"):
            CloudwatchSource.model_validate(asked)


@pytest.mark.parametrize(
    "site", ["evil.com", "datadoghq.com.evil.com", "evil/datadoghq.com", "a.b.datadoghq.com", "{{ x }}"]
)
def test_sites_are_those_of_datadog(site: str) -> None:
    """The keys of an account go nowhere else."""
    with pytest.raises(ValueError, match="site"):
        DatadogSource.model_validate({"query": "a", "site": site, "auth": {"secretRef": {"name": "k"}}})
