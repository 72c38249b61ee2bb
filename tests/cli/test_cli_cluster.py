"""The CLI as a process against the sandbox's API server; a scripted controller answers requests."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import NOW, PHASES, Run, canary, rollout, status
from cluster_kit import api_server, install_all, own_namespace

from canary.errors import ApiError
from canary.kube import EVENTS, HTTPROUTES, NAMESPACES, ROLLOUTS, Kube, KubeClient
from canary.kube.events import build_event
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.status import Phase, RolloutStatus
from canary.model.times import format_time
from canary_sandbox.apiserver import ApiServer, Fault
from canary_sandbox.apiserver.generic import GenericApiServer

ROOT = Path(__file__).parents[2]
NS = own_namespace("team-shop")
OTHER = own_namespace("other")


@dataclass
class Cluster:
    """An API server with our CRDs, and the CLI pointed at it."""

    api: GenericApiServer
    kube: Kube
    config: Path

    async def cli(self, *arguments: str, **env: str) -> Run:
        return await canary(*arguments, **{"KUBECONFIG": str(self.config), **env})

    async def rollout(self, found: RolloutStatus | None, name: str = "shop", **metadata: Any) -> dict[str, Any]:
        document = rollout(None)
        document["metadata"] = {"name": name, "namespace": NS, **metadata}
        created = await self.kube.create(ROLLOUTS, document)
        if found is None:
            return created
        body = {"status": found.model_copy(update={"observed_generation": 1}).dump()}
        return await self.kube.merge_patch(ROLLOUTS, name, NS, body, subresource="status")

    async def annotate(self, value: str, name: str = "shop") -> None:
        await self.kube.merge_patch(ROLLOUTS, name, NS, {"metadata": {"annotations": {REQUEST_ANNOTATION: value}}})

    async def pending(self, name: str = "shop") -> dict[str, Any] | None:
        annotations = (await self.kube.get(ROLLOUTS, name, NS))["metadata"].get("annotations") or {}
        value = annotations.get(REQUEST_ANNOTATION)
        return json.loads(value) if value else None


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config", namespace=NS)
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
            yield Cluster(api, kube, config)


Answer = Callable[[dict[str, Any], dict[str, Any]], Awaitable[None]]


@asynccontextmanager
async def controller(cluster: Cluster, outcome: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Answers every request with `outcome`, as the real controller does: the status first, then the annotation."""
    seen: list[dict[str, Any]] = []

    async def work() -> None:
        async for event in cluster.kube.list_and_watch(ROLLOUTS, NS):
            raw = (event.object.get("metadata", {}).get("annotations") or {}).get(REQUEST_ANNOTATION)
            if raw is None or event.type == "DELETED":
                continue
            request = json.loads(raw)
            if request["id"] in {known["id"] for known in seen}:
                continue
            seen.append(request)
            answer = {key: request[key] for key in ("id", "verb", "by", "reason")}
            answer |= {
                "at": format_time(NOW),
                "outcome": outcome.split(": ", maxsplit=1)[0].capitalize(),
                "message": outcome.split(": ")[1],
            }
            name = event.object["metadata"]["name"]
            await cluster.kube.merge_patch(
                ROLLOUTS, name, NS, {"status": {"lastRequest": answer}}, subresource="status"
            )
            gone = {"metadata": {"annotations": {REQUEST_ANNOTATION: None}}}
            await cluster.kube.merge_patch(ROLLOUTS, name, NS, gone)

    task = asyncio.create_task(work())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_list_shows_what_there_is(cluster: Cluster) -> None:
    """Of the context's namespace, of all, by label, as objects; and nothing is said to be nothing."""
    await cluster.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER}})
    await cluster.rollout(status(), "shop", labels={"team": "shop"})
    await cluster.rollout(PHASES[Phase.IDLE], "pay", labels={"team": "pay"})
    plain, everywhere, chosen, empty = await asyncio.gather(
        cluster.cli("list"),
        cluster.cli("list", "-A", "-o", "wide"),
        cluster.cli("list", "-l", "team=pay", "-o", "json"),
        cluster.cli("--namespace", OTHER, "list"),
    )
    assert [run.code for run in (plain, everywhere, chosen, empty)] == [0] * 4
    assert "\x1b" not in plain.out
    rows = [line.split() for line in plain.out.splitlines()]
    assert rows[0] == ["NAME", "PHASE", "STEP", "WEIGHT", "OBSERVED", "CHECKS", "AGE", "MESSAGE"]
    assert rows[1][:2] == ["pay", "Idle"]
    assert rows[2][:7] == ["shop", "Progressing", "3/5", "50", "48.7", "2/2", "pass"]
    assert everywhere.out.startswith("NAMESPACE")
    assert everywhere.out.count(f"{NS} ") == 2
    assert "1b2c3d4e5f" in everywhere.out
    assert (empty.out, empty.err) == ("", f"No Rollouts in namespace {OTHER}.\n")
    (only,) = json.loads(chosen.out)["items"]
    assert (only["kind"], only["metadata"]["name"]) == ("Rollout", "pay")


async def test_a_selector_that_is_none_is_named(cluster: Cluster) -> None:
    """The option, what the API server says of it, and how one is written; it is a matter of the command line."""
    ran = await cluster.cli("list", "-l", "a=b,,")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: --selector 'a=b,,' is none: ")
    assert ran.err.endswith("; write for example team=shop,tier!=test\n")


async def test_status_shows_one_rollout_with_its_own_events(cluster: Cluster) -> None:
    """The picture, its events in order and only its own; the object for programs; ASCII where Unicode cannot go."""
    mine = await cluster.rollout(status())
    other = await cluster.rollout(status(), "other")
    for about, reason, seconds in ((mine, "Second", 2), (mine, "First", 1), (other, "Foreign", 1)):
        at = NOW.replace(second=seconds)
        event = build_event(about, type_="Normal", reason=reason, message="m", now=at, name_suffix=reason.lower())
        await cluster.kube.create(EVENTS, event)
    text, as_json, as_yaml, plain = await asyncio.gather(
        cluster.cli("status", "shop"),
        cluster.cli("status", "shop", "-o", "json"),
        cluster.cli("status", "-n", NS, "shop", "-o", "yaml"),
        cluster.cli("status", "shop", PYTHONIOENCODING="ascii"),
    )
    assert text.code == 0
    assert f"▶ {NS}/shop  Progressing" in text.out
    assert 0 < text.out.index("First") < text.out.index("Second")
    assert "Foreign" not in text.out
    document = json.loads(as_json.out)
    assert document["status"]["split"]["desired"] == 50
    assert "managedFields" not in document["metadata"]
    assert yaml.safe_load(as_yaml.out) == document
    assert plain.code == 0
    assert f"> {NS}/shop  Progressing" in plain.out
    assert plain.out.isascii()


async def test_colours_can_be_switched_off(cluster: Cluster) -> None:
    """--no-color and NO_COLOR win over everything that asks for colours."""
    await cluster.rollout(status())
    wanted, flagged, env = await asyncio.gather(
        cluster.cli("status", "shop", FORCE_COLOR="1"),
        cluster.cli("status", "shop", "--no-color", FORCE_COLOR="1"),
        cluster.cli("list", FORCE_COLOR="1", NO_COLOR="1"),
    )
    assert "\x1b[" in wanted.out
    assert "\x1b" not in flagged.out + env.out
    assert flagged.code == env.code == 0


async def test_explain_reads_the_route_as_it_is(cluster: Cluster) -> None:
    """The weights in the explanation are those of the HTTPRoute in the cluster, third backends included."""
    await cluster.rollout(status())
    refs = [{"name": name, "port": 8080, "weight": 50} for name in ("shop-stable", "shop-canary", "legacy")]
    route = {
        "apiVersion": HTTPROUTES.api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": NS},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": refs}]},
    }
    await cluster.kube.create(HTTPROUTES, route)
    text, as_json = await asyncio.gather(cluster.cli("explain", "shop"), cluster.cli("explain", "shop", "-o", "json"))
    assert text.code == 0
    assert "the canary 33.33 %" in " ".join(text.out.split())
    titles = [section["title"] for section in json.loads(as_json.out)["sections"]]
    assert titles[0] == "Where it is"
    assert "Weights" in titles


async def test_a_request_is_recorded_and_its_outcome_printed(cluster: Cluster) -> None:
    """The controller gets verb, id, user and reason; `done: …` ends with 0."""
    await cluster.rollout(status())
    async with controller(cluster, "done: rolling back") as seen:
        ran = await cluster.cli("abort", "shop", "--reason", "customers complain")
    assert (ran.code, ran.out, ran.err) == (0, f"✓ abort {NS}/shop: done: rolling back\n", "")
    (request,) = seen
    assert (request["verb"], request["by"], request["reason"]) == ("abort", "admin", "customers complain")
    assert len(request["id"]) == 36


async def test_full_promotion_is_a_verb_of_its_own(cluster: Cluster) -> None:
    """`promote --full` asks for promote-full; so scripts that annotate by hand can do the same."""
    await cluster.rollout(status())
    async with controller(cluster, "done: skipped") as seen:
        assert (await cluster.cli("promote", "--full", "shop")).code == 0
    assert [request["verb"] for request in seen] == ["promote-full"]


async def test_unknown_checks_are_ignored_only_when_asked(cluster: Cluster) -> None:
    """The request carries it, in the words that the controller reads; without the option it does not."""
    await cluster.rollout(status())
    async with controller(cluster, "done: skipped") as seen:
        assert (await cluster.cli("promote", "--full", "shop")).code == 0
        assert (await cluster.cli("promote", "--full", "--ignore-unknown", "shop")).code == 0
    assert [request.get("ignoreUnknown") for request in seen] == [None, True]


EVERY_VERB = [
    ["list"],
    ["list", "-o", "wide"],
    ["status", "shop"],
    ["explain", "shop"],
    ["watch", "shop"],
    ["wait", "shop", "--for", "idle"],
    *([verb, "shop"] for verb in ("start", "promote", "pause", "resume", "abort", "retry")),
    ["lint", "--live", str(ROOT / "examples/shop/rollout.yaml")],
    ["doctor"],
]


async def test_credentials_that_are_not_accepted_end_every_verb_alike(cluster: Cluster, tmp_path: Path) -> None:
    """An expired token: code 6 and one sentence, whatever was asked for."""
    expired = yaml.safe_load(cluster.config.read_text())
    for user in expired["users"]:
        user["user"] = {"token": "expired"}
    for entry in expired["clusters"]:
        entry["cluster"].pop("certificate-authority-data", None)
        entry["cluster"].pop("certificate-authority", None)
        if entry["cluster"]["server"].startswith("https"):
            entry["cluster"]["insecure-skip-tls-verify"] = True
    config = tmp_path / "expired"
    config.write_text(yaml.safe_dump(expired))
    ended = [await cluster.cli(*verb, KUBECONFIG=str(config)) for verb in EVERY_VERB]
    assert [ran.code for ran in ended] == [6] * len(EVERY_VERB)
    said = "the API server does not accept your credentials: they are missing, wrong, or have expired; "
    said += "log in again, or choose another --context\n"
    assert {ran.err for ran in ended[:-1]} == {f"Error: {said}"}
    assert ended[-1].out.startswith(f"✗ API server: {said}")


async def test_a_refusal_has_its_reason_and_its_code(cluster: Cluster) -> None:
    """`refused: …` goes to stderr and ends with 3."""
    await cluster.rollout(PHASES[Phase.IDLE])
    async with controller(cluster, "refused: no run is active"):
        ran = await cluster.cli("resume", "shop")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == f"✗ resume {NS}/shop: refused: no run is active\n"


async def test_without_a_controller_it_says_so_and_what_becomes_of_the_request(cluster: Cluster) -> None:
    """Nobody answers: code 4, how to take the request back; and the next one is refused until that is settled."""
    await cluster.rollout(status())
    silent = await cluster.cli("pause", "shop", "--timeout", "300ms")
    assert silent.code == 4
    assert "the controller did not answer within 0.3 s; is it running" in silent.err
    assert f"kubectl annotate rollouts.canary.dev shop -n {NS} {REQUEST_ANNOTATION}-" in silent.err
    first = await cluster.pending()
    assert first is not None

    second = await cluster.cli("resume", "shop", "--timeout", "300ms")
    assert second.code == 3
    assert "another request (pause by admin" in second.err
    assert await cluster.pending() == first

    urgent = await cluster.cli("abort", "shop", "--no-wait")
    assert urgent.code == 0
    assert (await cluster.pending() or {})["verb"] == "abort"
    assert (await cluster.cli("resume", "shop", "--no-wait", "--replace")).code == 0
    assert (await cluster.pending() or {})["verb"] == "resume"


async def test_an_old_request_does_not_stand_in_the_way(cluster: Cluster) -> None:
    """What nobody answered for a minute nobody is going to miss; a plain verb of unknown age is respected."""
    await cluster.rollout(status())
    await cluster.annotate(json.dumps({"id": "x", "verb": "pause", "at": format_time(NOW)}))
    assert (await cluster.cli("resume", "shop", "--no-wait")).code == 0
    await cluster.rollout(status(), "other")
    await cluster.annotate("pause", "other")
    ran = await cluster.cli("resume", "other", "--no-wait")
    assert ran.code == 3
    assert "another request (pause" in ran.err


async def test_an_answered_request_does_not_stand_in_the_way(cluster: Cluster) -> None:
    """Between the answer and the removal of the annotation the next request may come: `pause` right after `start`."""
    await cluster.rollout(status())
    await cluster.annotate(json.dumps({"id": "r-1", "verb": "start"}))  # r-1 is the last request of the status
    assert (await cluster.cli("pause", "shop", "--no-wait")).code == 0


async def test_a_request_survives_writes_by_others(cluster: Cluster) -> None:
    """The guard by resourceVersion loses against the status writes of a busy controller, and tries again."""
    await cluster.rollout(status())
    conflict = cluster.api.faults.add(Fault(verb="patch", resource="rollouts", status=409, times=3, user="alice"))
    config = cluster.api.kubeconfig(cluster.config.with_name("alice"), user="alice", namespace=NS)
    ran = await cluster.cli("pause", "shop", "--no-wait", KUBECONFIG=str(config))
    assert conflict.hits == 3
    assert ran.code == 0
    assert (await cluster.pending() or {})["by"] == "alice"


async def test_what_is_not_there_is_named(cluster: Cluster) -> None:
    """No such Rollout: code 5 and where to look; for every verb."""
    runs = await asyncio.gather(*(cluster.cli(verb, "nope") for verb in ("status", "watch", "abort")))
    for ran in runs:
        assert ran.code == 5
        assert ran.err == f"Error: no Rollout nope in namespace {NS}; `canary list -A` shows all\n"


@pytest.mark.sandbox_only("a server without our definitions: those of a real one are the whole session's")
async def test_a_cluster_without_canary_is_told_from_a_missing_rollout(tmp_path: Path) -> None:
    """Without the CRD: code 5, and what to apply; no secret of the address is printed."""
    async with ApiServer() as api:
        config = api.kubeconfig(tmp_path / "config")
        runs = await asyncio.gather(
            *(canary(*words, KUBECONFIG=str(config)) for words in (["list"], ["watch", "shop"]))
        )
        for ran in runs:
            assert ran.code == 5
            assert "kubectl apply -f crds/" in ran.err
            assert api.token not in ran.err


async def test_what_one_may_not_do_is_said(cluster: Cluster) -> None:
    """401 and 403 end with 6 and a sentence."""
    await cluster.rollout(status())
    cluster.api.faults.add(Fault(verb="get", resource="rollouts", status=403, times=1))
    forbidden = await cluster.cli("status", "shop")
    assert forbidden.code == 6
    assert forbidden.err.startswith("Error: not allowed: ")
    assert len(forbidden.err.splitlines()) == 1


async def test_a_short_trouble_of_the_server_goes_unnoticed(cluster: Cluster) -> None:
    """Reads are tried again."""
    await cluster.rollout(status())
    cluster.api.faults.add(Fault(verb="get", resource="rollouts", status=500, times=2))
    assert (await cluster.cli("status", "shop")).code == 0


class Watching:
    """A running `canary watch` whose lines can be awaited."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line_with(self, words: str) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(15):
            while True:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"ended without {words!r}: {self.lines}"
                self.lines.append(line)
                if words in line:
                    return line

    async def end(self) -> tuple[int, str]:
        async with asyncio.timeout(15):
            _, err = await self.process.communicate()
        return self.process.returncode or 0, err.decode()


@asynccontextmanager
async def watching(cluster: Cluster, *arguments: str) -> AsyncIterator[Watching]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "canary", "watch", "shop", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": str(cluster.config), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    try:
        yield Watching(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _set(cluster: Cluster, found: RolloutStatus) -> None:
    body = {"status": found.model_copy(update={"observed_generation": 1}).dump()}
    await cluster.kube.merge_patch(ROLLOUTS, "shop", NS, body, subresource="status")


async def test_watch_appends_a_line_for_each_change_and_ends_with_the_run(cluster: Cluster) -> None:
    """Into a pipe: one line each, none twice, nothing polled; --exit leaves with 3 after a rollback."""
    await cluster.rollout(status())
    async with watching(cluster, "--exit") as watch:
        await watch.line_with("step 3/5  weight 50 %  observed 48.7 %  checks 2/2 pass")
        await _set(cluster, PHASES[Phase.PAUSED])
        await watch.line_with("paused at 10 %")
        await cluster.kube.merge_patch(ROLLOUTS, "shop", NS, {"metadata": {"labels": {"of": "no-interest"}}})
        await _set(cluster, PHASES[Phase.ROLLED_BACK])
        await watch.line_with("RolledBack")
        assert await watch.end() == (3, "")
        assert len(watch.lines) == 3
    listed = [e for e in cluster.api.audit if e.resource == "rollouts" and e.verb in {"get", "list", "watch"}]
    assert [entry.verb for entry in listed] == ["list", "watch"]


async def test_watch_survives_a_broken_connection(cluster: Cluster) -> None:
    """A dropped watch is taken up again, and nothing of what came meanwhile is missing."""
    await cluster.rollout(status())
    async with watching(cluster, "--exit", "--timeout", "20s") as watch:
        await watch.line_with("Progressing")
        cluster.api.drop_watches()
        await _set(cluster, PHASES[Phase.SUCCEEDED])
        await watch.line_with("Succeeded")
        assert (await watch.end())[0] == 0


async def test_watch_ends_when_the_rollout_does_or_time_is_up(cluster: Cluster) -> None:
    """Deletion is 5, too late is 4."""
    await cluster.rollout(status())
    late = await cluster.cli("watch", "shop", "--exit", "--timeout", "500ms")
    assert late.code == 4
    assert "was not over within 0.5 s" in late.err
    async with watching(cluster) as watch:
        await watch.line_with("Progressing")
        await cluster.kube.delete(ROLLOUTS, "shop", NS)
        assert await watch.end() == (5, f"Error: the Rollout {NS}/shop was deleted\n")


async def test_names_of_rollouts_complete(cluster: Cluster) -> None:
    """A shell that presses Tab gets names; without a cluster it gets none, and no noise."""
    for name in ("shop", "shop-admin", "pay"):
        await cluster.rollout(None, name)
    words = {"_CANARY_COMPLETE": "complete_bash", "COMP_WORDS": "canary status sh", "COMP_CWORD": "2"}
    found, none = await asyncio.gather(cluster.cli(**words), cluster.cli(**words, KUBECONFIG="/nowhere"))
    assert found.out.split() == ["shop", "shop-admin"]
    assert (none.out.split(), none.err) == ([], "")


async def test_a_reader_that_has_gone_is_no_error(cluster: Cluster) -> None:
    """`canary list | head -1` prints no traceback."""
    for index in range(3):
        await cluster.rollout(status(), f"shop-{index}")
    script = f"{sys.executable} -m canary status shop-1 | true; exit ${{PIPESTATUS[0]}}"
    ran = await canary("-c", script, command=("bash",), KUBECONFIG=str(cluster.config))
    assert ran.err == ""
    assert ran.code in {0, 141}  # 0 when it had written all before the reader went


async def test_the_annotation_is_what_the_controller_reads(cluster: Cluster) -> None:
    """The value parses with the controller's own parser, and the API server keeps it as it is."""
    from canary.model.requests import parse_request

    await cluster.rollout(status())
    assert (await cluster.cli("start", "shop", "--no-wait", "--reason", 'it "works"')).code == 0
    raw = (await cluster.kube.get(ROLLOUTS, "shop", NS))["metadata"]["annotations"][REQUEST_ANNOTATION]
    request = parse_request(raw)
    assert request is not None
    assert (request.verb, request.reason, request.by) == ("start", 'it "works"', "admin")
    with pytest.raises(ApiError):
        await cluster.kube.get(ROLLOUTS, "nothing-else-was-created", NS)
