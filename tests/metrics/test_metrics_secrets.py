"""Credentials of checks, from Secrets: shown to whom they are for, and told nobody."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from certificates import Authority
from fake_prometheus import FakePrometheus, failure, vector
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from secrets_kit import OWN, Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.prometheus import Prometheus
from canary.errors import Forbidden, Unavailable
from canary.metrics.credentials import Credentials, Shown, withheld
from canary.metrics.port import Query, Refusal
from canary.metrics.prometheus import PrometheusProvider
from canary.metrics.secrets import MOST, Unshown
from canary.model.measurement import Malformed, Measurement, NoData, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEAM = "team-shop"
TENANT = (TEAM, "shop")


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
async def provider(prometheus: FakePrometheus, vault: Vault) -> AsyncIterator[PrometheusProvider]:
    prometheus.answers["x"] = lambda: vector(({}, 1))
    made = PrometheusProvider(prometheus.url, ["127.0.0.0/8", "localhost"], secrets=vault.secrets)
    yield made
    await made.close()


def ask(secret: str = "prom", address: str | None = None, namespace: str = TEAM, **more: object) -> Query:
    auth = replace(Auth(secret, namespace=namespace), **more)  # type: ignore[arg-type]
    return Query(Prometheus("x", address, auth), timeout=5, tenant=TENANT)


def told(prometheus: FakePrometheus) -> list[str | None]:
    return [headers.get("Authorization") for headers in prometheus.headers]


async def test_a_token_a_user_and_headers(prometheus, provider, vault) -> None:
    """Each key of a Secret that counts is shown as what it is."""
    vault.put(TEAM, "prom", token="abc.def\n")
    vault.put(TEAM, "user", username="ann", password="p w:d")
    vault.put(TEAM, "key", api="k-1")
    vault.put(OWN, "ours", token="platform")
    headers = (("X-Api-Key", "api"),)
    for query in (ask(), ask("user"), ask("key", headers=headers), ask("ours", platform=True, namespace="")):
        assert isinstance(await provider.measure(query, NOW), Sample)
    assert told(prometheus) == ["Bearer abc.def", "Basic YW5uOnAgdzpk", None, "Bearer platform"]
    assert [one.get("X-Api-Key") for one in prometheus.headers] == [None, None, "k-1", None]


async def test_a_client_certificate_and_authorities_of_a_secret(tmp_path: Path, vault) -> None:
    """A server that asks for a certificate is shown that of the Secret, and is known by its authorities; both may change."""
    ours, theirs = Authority("of clients"), Authority("of the server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_text(theirs.server())
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=ours.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    fake = FakePrometheus(answers={"x": vector})
    app = web.Application()
    app.router.add_get("/api/v1/query", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    provider = PrometheusProvider(url, secrets=vault.secrets)

    def put(signs: Authority) -> None:
        certificate, key, rest = signs.server().partition("-----BEGIN EC PRIVATE KEY-----")
        vault.put(TEAM, "prom", tls__crt=certificate, tls__key=key + rest, ca__crt=theirs.pem)

    try:
        put(Authority("a stranger"))
        assert isinstance(await provider.measure(ask(), NOW), Unreachable)
        put(ours)
        vault.now += 1
        assert isinstance(await provider.measure(ask(), NOW), NoData)
        # Whoever has no Secret is no client of this server, although a connection of one is open.
        assert isinstance(await provider.measure(Query(Prometheus("x"), timeout=5), NOW), Unreachable)
    finally:
        await provider.close()
        await runner.cleanup()
    assert len(fake.queries) == 1


async def test_basic_and_a_client_certificate_in_files(tmp_path: Path) -> None:
    """What a Secret may hold the controller's own files may hold too, and they may be exchanged one after the other."""
    first, second = Authority("a").server(), Authority("b").server()
    mark = "-----BEGIN EC PRIVATE KEY-----"
    files = {
        "user": "ann\n",
        "password": "pw\n",
        "crt": first.partition(mark)[0],
        "key": mark + first.partition(mark)[2],
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = Credentials(
        username_file=str(tmp_path / "user"),
        password_file=str(tmp_path / "password"),
        certificate_file=str(tmp_path / "crt"),
        key_file=str(tmp_path / "key"),
    )
    assert found.headers() == {"Authorization": "Basic YW5uOnB3"}
    before = found.trust()
    assert before is not None
    assert before is found.trust()
    (tmp_path / "crt").write_text(second.partition(mark)[0])
    assert found.trust() is before  # the key is still the first one's
    (tmp_path / "key").write_text(mark + second.partition(mark)[2])
    (tmp_path / "password").write_text("changed")
    assert found.trust() not in (before, None)
    assert found.headers() == {"Authorization": "Basic YW5uOmNoYW5nZWQ="}


async def test_a_changed_secret_is_used_by_the_next_measurement(prometheus, provider, vault) -> None:
    """What was read is used for a second at most, however many ask; and one that was not accepted not even that long."""
    vault.put(TEAM, "prom", token="one")
    for _ in range(3):
        await provider.measure(ask(), NOW)
    assert len(vault.reads) == 1
    vault.put(TEAM, "prom", token="two")
    vault.now += 1
    await provider.measure(ask(), NOW)
    assert told(prometheus) == ["Bearer one"] * 3 + ["Bearer two"]
    prometheus.answers["x"] = lambda: failure(401, "", "no")
    await provider.measure(ask(), NOW)
    vault.put(TEAM, "prom", token="three")
    await provider.measure(ask(), NOW)
    assert told(prometheus)[-1] == "Bearer three"


@pytest.mark.parametrize("code", [401, 403])
async def test_a_server_that_does_not_accept_it(prometheus, provider, vault, code: int) -> None:
    """It has a name of its own, and says which Secret it was, by its name."""
    vault.put(TEAM, "prom", token="abc")
    prometheus.answers["x"] = lambda: failure(code, "", "go away")
    answer = await provider.measure(ask(), NOW)
    assert isinstance(answer, Unreachable)
    assert answer.reason == "NotAuthorized"
    assert answer.message == f"{prometheus.url} answered {code}: it does not accept Secret prom: go away"
    bare = await provider.measure(Query(Prometheus("x"), timeout=5), NOW)
    assert isinstance(bare, Unreachable)
    assert "it was shown no credentials; name a Secret in auth.secretRef" in bare.message


REFUSED = (
    ({}, "127.0.0.1", "Opaque", "BadSecret", "has none of the keys that count"),
    ({"token": "abc"}, "", "Opaque", "SecretForOthers", "its annotation canary.dev/hosts is missing"),
    ({"token": "abc"}, "evil.example", "Opaque", "SecretForOthers", "names evil.example"),
    ({"token": "abc"}, "127.0.0.1:1", "Opaque", "SecretForOthers", "names 127.0.0.1:1"),
    ({"token": "abc"}, "*", "Opaque", "SecretForOthers", "names *"),
    ({"token": "abc"}, "http://x", "Opaque", "BadSecret", "cannot be read"),
    (
        {"token": "abc"},
        "127.0.0.1",
        "kubernetes.io/service-account-token",
        "BadSecret",
        "for the API server and nobody else",
    ),
    ({"token": "s3cret x"}, "127.0.0.1", "Opaque", "BadSecret", "key token of Secret prom in namespace team-shop"),
    ({"username": "s3cret"}, "127.0.0.1", "Opaque", "BadSecret", "without the other"),
    ({"username": "s3:cret", "password": "x"}, "127.0.0.1", "Opaque", "BadSecret", "without a colon"),
    ({"tls.crt": "-----BEGIN CERTIFICATE-----"}, "127.0.0.1", "Opaque", "BadSecret", "without the other"),
    (
        {"tls.crt": "-----BEGIN s3cret", "tls.key": "-----BEGIN s3cret"},
        "127.0.0.1",
        "Opaque",
        "BadSecret",
        "cannot be used",
    ),
    ({"ca.crt": "s3cret"}, "127.0.0.1", "Opaque", "BadSecret", "it holds no PEM certificate"),
    (
        {"token": "s3cret", "username": "s3cret", "password": "x"},
        "127.0.0.1",
        "Opaque",
        "BadSecret",
        "more than one way",
    ),
)


@pytest.mark.parametrize(("data", "hosts", "kind", "reason", "words"), REFUSED)
async def test_secrets_that_cannot_be_shown(prometheus, provider, vault, data, hosts, kind, reason, words) -> None:
    """Each is refused by name, with what to do and without what is in it, when measured and when validated; nobody is asked."""
    vault.put_all(TEAM, "prom", data, hosts, kind)
    answer = await provider.measure(ask(), NOW)
    assert isinstance(answer, Malformed)
    assert (answer.reason, words in answer.message) == (reason, True), answer
    assert "s3cret" not in answer.message
    assert await provider.validate(ask()) == Refusal(answer.message, asked=False, field="auth.secretRef")
    assert prometheus.queries == []


async def test_what_stands_between_us_and_a_secret(prometheus, provider, vault) -> None:
    """No right, no Secret, no API server: the first two are for somebody to mend, and say what; the third may pass."""
    vault.trouble[TEAM, "prom"] = Forbidden("no", status=403)
    forbidden = await provider.measure(ask(), NOW)
    assert isinstance(forbidden, Malformed)
    assert forbidden.reason == "SecretForbidden"
    assert (
        "may not read Secret prom in namespace team-shop: it lacks the right to `get` secrets there"
        in forbidden.message
    )
    assert "component secrets (Helm: rbac.secrets.namespaces)" in forbidden.message
    assert await provider.validate(ask()) == Refusal(forbidden.message, asked=False, field="auth.secretRef")
    vault.trouble[OWN, "prom"] = Forbidden("no", status=403)
    ours = await provider.measure(ask(platform=True), NOW)
    assert isinstance(ours, Malformed)
    assert "component own-secrets (Helm: rbac.secrets.own)" in ours.message
    vault.trouble.clear()
    missing = await provider.measure(ask(), NOW)
    assert isinstance(missing, Malformed)
    assert (missing.reason, missing.message) == (
        "NoSecret",
        "there is no Secret prom in namespace team-shop; create it, or correct the name",
    )
    vault.trouble[TEAM, "prom"] = Unavailable("in its own words", status=503)
    gone = await provider.measure(ask(), NOW)
    assert isinstance(gone, Unreachable)
    assert gone.reason == "SecretUnreadable"
    assert "own words" not in gone.message
    assert await provider.validate(ask()) is None
    assert prometheus.queries == []


async def test_a_secret_that_is_gone_is_not_shown_any_more(prometheus, provider, vault) -> None:
    """What was read before is of no use once it is deleted, or may not be read."""
    vault.put(TEAM, "prom", token="abc")
    await provider.measure(ask(), NOW)
    vault.content.clear()
    vault.now += 1
    answer = await provider.measure(ask(), NOW)
    assert isinstance(answer, Malformed)
    assert len(told(prometheus)) == 1


async def test_each_team_has_its_own(prometheus, provider, vault) -> None:
    """Two teams with Secrets of one name: each is asked for with its own, answers are not shared, and nobody gets another's."""
    for team in ("team-a", "team-b"):
        vault.put(team, "prom", token=team)
    await asyncio.gather(*(provider.measure(ask(namespace=team), NOW) for team in ("team-a", "team-b")))
    await provider.measure(Query(Prometheus("x"), timeout=5, max_age=1), NOW)
    assert sorted(map(str, told(prometheus))) == ["Bearer team-a", "Bearer team-b", "None"]


async def test_of_many_at_one_time_each_is_shown_as_its_own(prometheus, provider, vault) -> None:
    """Forty questions of four teams to one address, all under way together: every one carries the token of who asks it."""
    teams = [f"team-{name}" for name in "abcd"]
    for team in teams:
        vault.put(team, "prom", token=team)
    asked = [
        Query(
            Prometheus(f"x # {team} {number}", None, Auth("prom", namespace=team)),
            timeout=20,
            patience=20,
            tenant=(team, "r"),
        )
        for number in range(10)
        for team in teams
    ]
    answers = await asyncio.gather(*(provider.measure(query, NOW) for query in asked))
    assert {type(answer) for answer in answers} == {Sample}
    seen = zip(prometheus.queries, told(prometheus), strict=True)
    assert [(query["query"], token) for query, token in seen if token != f"Bearer {query['query'].split()[2]}"] == []
    assert len(prometheus.queries) == len(asked)


async def test_the_controllers_own_are_not_shown_with_a_secret(prometheus, vault, tmp_path: Path) -> None:
    """Who brings a Secret is shown as that, also to the address of the controller; and only there the files count."""
    (tmp_path / "headers").write_text("X-Scope-OrgID: platform\nAuthorization: Basic abc")
    vault.put(TEAM, "prom", token="team")
    prometheus.answers["x"] = lambda: vector(({}, 1))
    provider = PrometheusProvider(
        prometheus.url, credentials=Credentials(header_file=str(tmp_path / "headers")), secrets=vault.secrets
    )
    await provider.measure(ask(), NOW)
    await provider.measure(Query(Prometheus("x"), timeout=5), NOW)
    await provider.close()
    assert [(one.get("Authorization"), one.get("X-Scope-OrgID")) for one in prometheus.headers] == [
        ("Bearer team", None),
        ("Basic abc", "platform"),
    ]


async def test_a_redirect_does_not_take_it_along(prometheus, provider, vault) -> None:
    """To another host, another path, or the same: nobody follows."""
    vault.put(TEAM, "prom", token="abc")

    async def elsewhere(request: web.Request) -> web.Response:
        port = prometheus.url.rpartition(":")[2]
        return web.Response(status=307, headers={"Location": f"http://localhost:{port}{request.rel_url}"})

    prometheus.answers["x"] = elsewhere
    answer = await provider.measure(ask(), NOW)
    assert isinstance(answer, Unreachable)
    assert "redirects are not followed" in answer.message
    assert len(prometheus.queries) == 1


async def test_so_many_are_kept(vault) -> None:
    """Names cost their owner a read, and the controller no ever more memory."""
    for number in range(MOST + 10):
        vault.put(TEAM, f"s{number}", token="abc")
        await vault.secrets.shown(Auth(f"s{number}", namespace=TEAM), "http://127.0.0.1:80", TENANT)
    assert len(vault.secrets) == MOST


async def test_a_secret_of_one_namespace_cannot_be_had_by_another_ones_name(vault) -> None:
    """A Rollout's Secret lies in its namespace, whatever else there is by that name, and the platform's only in the controller's."""
    vault.put(OWN, "prom", token="platform")
    with pytest.raises(Unshown, match="no Secret prom in namespace team-shop"):
        await vault.secrets.shown(Auth("prom", namespace=TEAM), "http://127.0.0.1:80", TENANT)
    assert vault.reads == [(TEAM, "prom")]


# -- nothing that leaves the process tells it ---------------------------------------------------------------------------

IN_MARKS = "^{}`".format
"""In marks that no other text has: Hypothesis takes words out of the code under test, and any text may have those."""

VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40).map(IN_MARKS)
PASSWORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6, max_size=40).map(IN_MARKS)


async def echo(request: web.Request) -> web.Response:
    """A proxy that means well, and says all that it was told, in every place in which a server may say something."""
    heard = " ".join(f"{name}: {value}" for name, value in request.headers.items())
    how = request.query["query"]
    if how == "series":
        return vector(({"a": heard}, 1), ({"a": heard, "b": "2"}, 1))
    if how == "nan":
        return vector(({"a": heard}, "NaN"))
    if how == "warnings":
        return web.json_response(
            {"status": "success", "warnings": [heard], "data": {"resultType": "vector", "result": []}}
        )
    if how == "body":
        return web.Response(text=heard, status=502, reason="Bad Gateway")
    if how == "type":
        return web.json_response({"status": "success", "data": {"resultType": heard, "result": []}})
    return failure(int(how), "bad_data", heard)


HOWS = ("400", "401", "403", "422", "500", "503", "series", "nan", "warnings", "body", "type")


@given(token=VISIBLE, password=PASSWORDS, key=VISIBLE)
@settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_text_that_leaves_the_process_tells_a_secret(token: str, password: str, key: str, caplog) -> None:
    """Messages, logs at DEBUG, refusals and what objects print: whatever the server repeats."""
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    texts = asyncio.run(_everything_said(token, password, key))
    texts += [record.getMessage() for record in caplog.records]
    for secret in (token, password, key):
        assert not [text for text in texts if secret in text]


async def _everything_said(token: str, password: str, key: str) -> list[str]:
    vault = Vault()
    vault.put(TEAM, "token", token=token, key=key)
    vault.put(TEAM, "user", username="ann", password=password, key=key)
    app = web.Application()
    app.router.add_get("/api/v1/query", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider = PrometheusProvider(f"http://127.0.0.1:{runner.addresses[0][1]}", secrets=vault.secrets)
    texts: list[str] = []
    try:
        for secret in ("token", "user"):
            auth = Auth(secret, (("X-Api-Key", "key"),), namespace=TEAM)
            for how in HOWS:
                query = Query(Prometheus(how, None, auth), timeout=5, counters=how == "warnings")
                found: Measurement = await provider.measure(query, NOW)
                texts += [repr(found), repr(await provider.validate(query)), repr(query)]
            shown = await vault.secrets.shown(auth, provider._default or "", TENANT)
            texts += [repr(shown), str(shown), repr(vault.content), repr(vault.secrets)]
    finally:
        await provider.close()
        await runner.cleanup()
    assert any("withheld" in text for text in texts)  # the server did say it
    return texts


@given(VISIBLE, st.text(max_size=20), st.text(max_size=20))
def test_words_that_repeat_it_are_withheld(secret: str, before: str, after: str) -> None:
    """Other words are passed on as they are."""
    shown = Shown("Secret x", secrets=(secret,))
    assert secret not in withheld(f"{before}{secret}{after}", shown)
    if secret not in before:
        assert withheld(before, shown) == before
