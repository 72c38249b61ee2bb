"""`canary plan` as a process: files, a cluster, traffic that is said or counted, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import COLD, canary
from cluster_kit import api_server, install_all, own_namespace
from rehearse_kit import COMPARE, LATENCY, LIMIT, document, prometheus_of, steps, written

from canary.kube import CHECKTEMPLATES, NAMESPACES, ROLLOUTS, KubeClient

ROOT = Path(__file__).parents[2]
SAID = ("--requests-per-second", "60", "--error-rate", "1%", "--times", "10")
TEMPLATE = {
    "apiVersion": "canary.dev/v1alpha1",
    "kind": "CheckTemplate",
    "metadata": {"name": "errors"},
    "spec": {name: value for name, value in COMPARE.items() if name != "name"},
}
BY_TEMPLATE = {"name": "errors", "template": {"name": "errors"}}


async def test_a_file_and_traffic_that_is_said_need_nobody(tmp_path: Path) -> None:
    """The timeline, each check with what it finds at each step, alpha; no kubeconfig, no Prometheus."""
    file = written(tmp_path, document(steps(10, 100), COMPARE, LIMIT))
    ran = await canary("plan", file, *SAID, KUBECONFIG="/nowhere", COLUMNS="200")
    assert (ran.code, ran.err) == (0, "")
    assert "In all 10m02s; then all traffic stays on the canary" in ran.out
    assert "60 requests a second, of which stable fails 1 % (as you say)." in ran.out
    assert "never       never       -" in ran.out
    assert "stable has no traffic at 100 %" in ran.out
    assert "of spec.alpha (5 %)" in ran.out
    assert "A sample every 10s, each over 1m; one that fails fails the run." in ran.out


async def test_headings_are_whole_in_a_narrow_terminal(tmp_path: Path) -> None:
    """What a step asks for breaks into lines before anything else does."""
    plan = [{"weight": 10, "rules": {"beta": 20, "internal": 50}, "hold": "5m", "approval": {}}, *steps(20)]
    ran = await canary("plan", written(tmp_path, document(plan, COMPARE)), *SAID)
    assert "FIRST LOOK  HALF FOUND  95 % FOUND  IN THIS STEP  LONG ENOUGH  BY ITS END" in ran.out
    assert "…" not in ran.out


async def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    """Seconds and parts, warnings included."""
    file = written(tmp_path, document(steps(10, 100, hold="2m"), COMPARE, LIMIT))
    ran = await canary("plan", file, *SAID, "--times", "20", "-o", "json")
    told = json.loads(ran.out)
    assert (told["rollout"], told["namespace"], told["times"], told["totalSeconds"]) == ("shop", "default", 20, 242)
    (comparison,) = told["comparisons"]
    first, last = comparison["steps"]
    assert (comparison["requestsPerSecond"], comparison["errorRate"]) == (60, 0.01)
    assert first["firstLookSeconds"] <= first["medianSeconds"] <= first["p95Seconds"] < 60
    assert last["never"].startswith("stable has no traffic")
    assert [one["samples"] for one in told["limits"][0]["steps"]] == [11, 11]
    assert told["warnings"] == []


async def test_traffic_is_counted_by_the_comparison_s_own_counters(tmp_path: Path) -> None:
    """Requests of both Services, failures of stable, over the time that is asked for, by the clock of the server."""
    rates = {
        'requests_total{service="stable"}': 90.0,
        'requests_total{service="canary"}': 10.0,
        'requests_total{service="stable",code="500"}': 1.8,
    }
    file = written(tmp_path, document(steps(10), COMPARE))
    async with prometheus_of(rates) as url:
        ran = await canary("plan", file, "--prometheus-url", url, "--over", "2h", "--times", "10", COLUMNS="200")
        told = json.loads((await canary("plan", file, "--times", "10", "-o", "json", CANARY_PROMETHEUS_URL=url)).out)
    assert ran.code == 0
    assert "100 requests a second, of which stable fails 2 % (over the last 2h)." in ran.out
    assert told["comparisons"][0]["requestsPerSecond"] == pytest.approx(100)
    assert told["comparisons"][0]["errorRate"] == pytest.approx(0.02)


async def test_how_long_requests_take_is_asked_of_prometheus(tmp_path: Path) -> None:
    """By the buckets of the check; traffic that is said says nothing of it."""
    file = written(tmp_path, document(steps(10), LATENCY))
    stable, canary_ = ('took_bucket{service="%s"}' % service for service in ("stable", "canary"))  # noqa: UP031
    rates = {stable: {"0.1": 60.0, "0.3": 89.0, "+Inf": 90.0}, canary_: {"0.1": 10.0, "0.3": 10.0, "+Inf": 10.0}}
    async with prometheus_of(rates) as url:
        ran = await canary("plan", file, "--prometheus-url", url, "--times", "5", COLUMNS="200")
    said = await canary("plan", file, *SAID, COLUMNS="300")
    assert (ran.code, said.code) == (0, 0)
    words = "100 requests a second, of which at stable 33 % are slower than 100 ms, 1.1 % are slower than 300 ms (over the last 1h)."
    assert words in ran.out
    assert "Of a canary that has 5× the odds to be slow." in ran.out  # noqa: RUF001
    assert "! check latency: how long it needs is not known without how long requests take" in said.out


async def test_what_cannot_be_counted_is_a_warning(tmp_path: Path) -> None:
    """No data names the query; nobody at the address, and no address at all, say so. The rest of the plan is there."""
    file = written(tmp_path, document(steps(10), COMPARE))
    async with prometheus_of({}) as url:
        empty = await canary("plan", file, "--prometheus-url", url, COLUMNS="300")
    gone = await canary("plan", file, "--prometheus-url", url, COLUMNS="300")
    silent = await canary("plan", file, COLUMNS="300")
    assert [ran.code for ran in (empty, gone, silent)] == [0, 0, 0]
    assert all("In all 5m01s" in ran.out for ran in (empty, gone, silent))
    assert 'no requests of stable were counted over the last 1h by requests_total{service="stable"}' in empty.out
    assert "! check errors: http://127.0.0.1:" in gone.out
    assert "give --prometheus-url" not in empty.out + gone.out
    assert "give --prometheus-url, or --requests-per-second and --error-rate" in silent.out


async def test_pods_that_are_scraped_tell_nothing_of_the_past(tmp_path: Path) -> None:
    """Nobody asks a Prometheus for them; what is said of traffic is enough."""
    scraped = {"requests": {"metric": "requests_total"}, "failures": {"metric": "failures_total"}}
    check = {**COMPARE, "compare": {"scrape": scraped, "lag": "1s"}}
    file = written(tmp_path, document(steps(10), check))
    async with prometheus_of({}) as url:
        ran = await canary("plan", file, "--prometheus-url", url, COLUMNS="300")
    said = await canary("plan", file, *SAID, COLUMNS="200")
    assert (ran.code, said.code) == (0, 0)
    assert (
        "! check errors: its counters are asked of the pods, where nobody keeps the past: say what there is with"
        in ran.out
    )
    assert "60 requests a second, of which stable fails 1 % (as you say)." in said.out


async def test_templates_are_taken_from_the_files(tmp_path: Path) -> None:
    """Where one is missing, the check is named; its part of alpha is kept for it."""
    rollout = document(steps(10), BY_TEMPLATE, LIMIT)
    whole = await canary("plan", written(tmp_path, rollout, TEMPLATE), *SAID, COLUMNS="200")
    assert "Check errors: compares" in whole.out
    missing = await canary("plan", written(tmp_path, rollout), *SAID, COLUMNS="200")
    assert missing.code == 0
    assert "! check errors: CheckTemplate errors is not in these files: give its file too" in missing.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--requests-per-second", "5"), 2, "are given together"),
        (("--requests-per-second", "nan", "--error-rate", "1%"), 2, "is from 0 to"),
        (("--requests-per-second", "5", "--error-rate", "200%"), 2, "is a part of the requests"),
        (("--requests-per-second", "5", "--error-rate", "1"), 2, "is a part of the requests, and not all: 1% or 0.01"),
        (("--times", "0.5"), 2, "is from 1 to 1000"),
        (("--over", "1s"), 2, "is a minute or more"),
        (("--prometheus-url", "localhost:9090"), 2, "no http:// or https:// URL"),
        (("--rollout", "other"), 2, "there is no Rollout other in what was given; the files have shop"),
    ],
)
async def test_what_makes_no_sense_ends_with_2(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """And says what would."""
    ran = await canary("plan", written(tmp_path, document(steps(10), COMPARE)), *arguments)
    assert ran.code == code
    assert words in " ".join(ran.err.replace("│", " ").split())


async def test_one_rollout_is_rehearsed(tmp_path: Path) -> None:
    """Of several one is chosen by name; none, or a spec that is none, is said with its place."""
    other = document(steps(10), LIMIT)
    other["metadata"] = {"name": "other"}
    file = written(tmp_path, document(steps(10), LIMIT), other)
    several = await canary("plan", file)
    assert several.code == 2
    assert "choose with --rollout one of other, shop" in several.err
    assert (await canary("plan", file, "--rollout", "other")).out.startswith("other: the plan")
    broken = await canary("plan", written(tmp_path, document([{"weight": 200}], LIMIT)))
    assert broken.code == 1
    assert "rollout.yaml:" in broken.err
    assert "Traceback" not in broken.err
    assert (await canary("plan", str(tmp_path / "none.yaml"))).code == 2


async def test_a_rollout_of_the_cluster_with_its_template(tmp_path: Path) -> None:
    """By name, as other verbs take it; one that is not there ends with 5."""
    namespace = own_namespace("team-shop")
    async with api_server() as api:
        await install_all(api)
        config = str(api.kubeconfig(tmp_path / "config", namespace=namespace))
        async with await KubeClient.connect(kubeconfig=config) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            metadata = {"name": "shop", "namespace": namespace}
            await kube.create(ROLLOUTS, {**document(steps(10), BY_TEMPLATE), "metadata": metadata})
            without = await canary("plan", "shop", *SAID, KUBECONFIG=config, COLUMNS="200")
            await kube.create(CHECKTEMPLATES, {**TEMPLATE, "metadata": {"name": "errors", "namespace": namespace}})
        ran = await canary("plan", "shop", *SAID, KUBECONFIG=config, COLUMNS="200")
        none = await canary("plan", "shops", *SAID, KUBECONFIG=config)
    assert without.code == 0
    assert "! check errors: CheckTemplate errors cannot be read" in without.out
    assert (ran.code, none.code) == (0, 5)
    assert "Check errors: compares" in ran.out


async def test_the_page_shows_what_it_prints() -> None:
    """The plan of docs/trust.md, word for word: the seeds are fixed."""
    page = (ROOT / "docs" / "trust.md").read_text()
    command, _, printed = page.partition("$ canary ")[2].partition("```")[0].partition("\n")
    verb, file, *options = command.split()
    ran = await canary(verb, str(ROOT / file), *options, COLUMNS="124")
    assert ran.out == printed


async def test_a_name_is_a_rollout_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside a folder of that name: that one is written as a path, and who meant it is told so."""
    (tmp_path / "shop").mkdir()
    written(tmp_path / "shop", document(steps(10), LIMIT))
    monkeypatch.chdir(tmp_path)
    ran = await canary("plan", "shop", *SAID, command=COLD, KUBECONFIG="/nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no kubeconfig at /nowhere" in ran.err
    assert ran.err.endswith("; there is also a folder of that name: for that one write ./shop\n")
    for path in ("./shop", "shop/"):
        assert (await canary("plan", path, *SAID, command=COLD)).out.startswith("shop: the plan")
    several = await canary("plan", "shop", "none", *SAID, command=COLD)
    assert (several.code, several.err) == (2, "Error: there is no file or folder none\n")
    chosen = await canary("plan", "shop", "--rollout", "shop", *SAID, command=COLD)
    assert chosen.code == 2
    assert "write ./shop" in chosen.err
