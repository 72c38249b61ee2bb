"""`canary lint` as a process: files, folders, standard input, promtool, exit codes, and a cluster."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from cli_kit import canary
from cluster_kit import api_server, install_all, own_namespace
from definitions import concise, install, policy_definition, remove

from canary.kube import (
    CHECKTEMPLATES,
    DEPLOYMENTS,
    GATEWAYS,
    GRPCROUTES,
    HTTPROUTES,
    NAMESPACES,
    REFERENCEGRANTS,
    ROLLOUTS,
    SERVICES,
    UDPROUTES,
    Kube,
    KubeClient,
    Resource,
)
from canary_sandbox.apiserver import ApiServer, Fault
from canary_sandbox.apiserver.generic import GenericApiServer

ROOT = Path(__file__).parents[2]
NS = own_namespace("team-shop")
OTHER = own_namespace("other")
Json = dict[str, Any]
QUERY = 'sum(rate(errors{service="{{ canary.service }}"}[{{ window }}]))'
PROMTOOL = ROOT / ".sandbox" / "bin" / "promtool"


def rollout(name: str = "shop", **spec: Any) -> Json:
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "routes": [{"name": "shop"}],
            "stable": {"service": "shop-stable", "port": 8080},
            "canary": {"service": "shop-canary", "port": 8080},
            "steps": [{"weight": 10, "hold": "5m"}],
            "checks": [{"name": "errors", "prometheus": {"query": QUERY}, "threshold": {"max": "1%"}}],
            **spec,
        },
    }


def write(path: Path, *documents: Json) -> str:
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return str(path)


@pytest.fixture
def no_promtool(tmp_path: Path) -> dict[str, str]:
    """A promtool that takes everything: for tests that are about other things, whatever the machine has."""
    program = tmp_path / "promtool"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    return {"CANARY_PROMTOOL": str(program)}


async def test_exit_codes_say_clean_problems_usage(tmp_path: Path, no_promtool: dict[str, str]) -> None:
    """0, 1 and 2; warnings fail with --fail-on warning or --strict only; without a cluster and without a kubeconfig."""
    good = write(tmp_path / "good.yaml", rollout())
    bad = write(tmp_path / "bad.yaml", rollout(onFailure="rollback"))
    doubtful = write(tmp_path / "doubtful.yaml", rollout(checks=[]))
    env = {**no_promtool, "KUBECONFIG": "/nowhere"}
    clean, wrong, warned, strict, absent, format_, target, failing, nothing = await asyncio.gather(
        canary("lint", good, **env),
        canary("lint", bad, **env),
        canary("lint", doubtful, **env),
        canary("lint", "--strict", doubtful, **env),
        canary("lint", str(tmp_path / "absent.yaml"), **env),
        canary("lint", "--output", "json", good, **env),
        canary("lint", "-o", "junit", "--output", str(tmp_path / "no" / "where.xml"), good, **env),
        canary("lint", "--fail-on", "warning", doubtful, **env),
        canary("lint", "--fail-on", "nothing", doubtful, **env),
    )
    assert (clean.code, clean.out, clean.err) == (0, "no problems in 1 object of 1 file\n", "")
    assert wrong.code == 1
    assert f"{bad}:24:3: error: Rollout {NS}/shop: spec.onFailure: 'rollback' is not one of" in wrong.out
    assert (warned.code, strict.code, failing.code, nothing.code) == (0, 1, 1, 2)
    assert "its weight rises on time alone" in warned.out
    assert absent.code == 2
    assert absent.err == f"Error: there is no file or folder {tmp_path / 'absent.yaml'}\n"
    assert format_.code == 2
    assert "for the format write -o json" in " ".join(format_.err.split())
    assert target.code == 2


async def test_a_folder_without_manifests_is_not_clean(tmp_path: Path, no_promtool: dict[str, str]) -> None:
    """A pipeline that lints nothing, because a path is wrong, is told so: with 2, as for a file that is not there."""
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "c.yaml", rollout())
    (tmp_path / "readme.md").write_text("words")
    for routes in ((), ("--routes",)):
        ran = await canary("lint", *routes, str(tmp_path), **no_promtool)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith(f"Error: the folder {tmp_path} has no file that ends in .yaml, .yml, .json")


async def test_folders_standard_input_and_what_holds_nothing(tmp_path: Path, no_promtool: dict[str, str]) -> None:
    """A folder gives its YAML and JSON, hidden parts aside; - reads what another program prints; nothing is told."""
    folder = tmp_path / "deploy"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    write(folder / "a.yaml", rollout())
    (folder / "sub" / "b.json").write_text(json.dumps(rollout("other", routes=[{"name": "other"}])))
    write(folder / ".hidden" / "c.yaml", rollout(onFailure="no"))
    (folder / "readme.md").write_text("- {")
    (tmp_path / "empty.yaml").write_text("kind: ConfigMap\napiVersion: v1\n")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    found, nothing, unreadable = await asyncio.gather(
        canary("lint", "-o", "json", str(folder), **no_promtool),
        canary("lint", "--strict", str(tmp_path / "empty.yaml"), **no_promtool),
        canary("lint", str(binary), **no_promtool),
    )
    assert json.loads(found.out) | {"findings": []} == {
        "findings": [], "errors": 0, "warnings": 0, "notes": 0, "objects": 2, "files": 2, "failed": False
    }  # fmt: skip
    assert nothing.code == 1
    assert "there is no Rollout, template of checks or target of notifications" in nothing.out
    assert unreadable.code == 1
    assert "the file is no UTF-8" in unreadable.out
    script = f'printf "%s" "$MANIFEST" | {sys.executable} -m canary lint -'
    piped = await canary("-c", script, command=("bash",), MANIFEST=yaml.safe_dump(rollout(nope=1)), **no_promtool)
    assert piped.code == 1
    assert "<stdin>:" in piped.out
    assert "unknown field 'nope'" in piped.out


async def test_reports_for_machines(tmp_path: Path, no_promtool: dict[str, str]) -> None:
    """GitHub annotations on standard output, JUnit and SARIF into a file; the exit code is the same."""
    bad = write(tmp_path / "bad.yaml", rollout(onFailure="rollback"))
    target = tmp_path / "lint.xml"
    log = tmp_path / "lint.sarif"
    github, junit, sarif = await asyncio.gather(
        canary("lint", "--format", "github", bad, **no_promtool),
        canary("lint", "--format", "junit", "--output", str(target), bad, **no_promtool),
        canary("lint", "--format", "sarif", "--output", str(log), bad, **no_promtool),
    )
    assert (github.code, junit.code, sarif.code) == (1, 1, 1)
    (result,) = json.loads(log.read_text())["runs"][0]["results"]
    assert result["ruleId"] == "schema"
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": f"file://{bad}"}, "region": {"startLine": 24, "startColumn": 3}
    }  # fmt: skip
    assert github.out.startswith(
        f"::error file={bad},line=24,col=3,title=canary lint%3A Rollout {NS}/shop::spec.onFail"
    )
    assert junit.out == ""
    assert junit.err == f"1 error in 1 object of 1 file; written to {target}\n"
    assert ET.parse(target).getroot().get("failures") == "1"


async def test_promql_is_parsed_by_promtool(tmp_path: Path) -> None:
    """What Prometheus would refuse is an error at its line, told once at the template and not at each of its users."""
    assert PROMTOOL.exists() or shutil.which("promtool"), "`make tools` unpacks promtool"
    template = {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "CheckTemplate",
        "metadata": {"name": "broken", "namespace": NS},
        "spec": {"prometheus": {"query": 'rate(errors{service="{{ canary.service }}"})'}, "threshold": {"max": 1}},
    }
    manifest = rollout(checks=[{"template": {"name": "broken"}}])
    query = '|\n          sum(\n            rate(x{s="{{ canary.service }}"}[1m]) foo\n          )\n'
    text = yaml.safe_dump_all([manifest, template]) + "---\n"
    own = yaml.safe_dump(rollout("own", routes=[{"name": "own"}])).replace(f"{QUERY}", "QUERY")
    (tmp_path / "m.yaml").write_text(text + own.replace("query: QUERY", f"query: {query.rstrip()}"))
    ran = await canary("lint", "-o", "json", str(tmp_path / "m.yaml"))
    found = json.loads(ran.out)["findings"]
    assert [(item["object"], item["rule"]) for item in found] == [
        (f"CheckTemplate {NS}/broken", "promql"),
        (f"Rollout {NS}/own", "promql"),
    ]
    assert "expected type range vector" in found[0]["message"]
    assert "unexpected identifier" in found[1]["message"]
    lines = (tmp_path / "m.yaml").read_text().splitlines()
    assert "foo" in lines[found[1]["line"] - 1]
    assert ran.code == 1


async def test_without_promtool_it_says_that_nobody_parsed(tmp_path: Path) -> None:
    """A note, no silence; a promtool that is named and cannot be run is a usage error; one that fails is an error."""
    good = write(tmp_path / "good.yaml", rollout())
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho out of order >&2\nexit 9\n")
    failing.chmod(0o755)
    silent, absent, broken = await asyncio.gather(
        canary("lint", good, CANARY_PROMTOOL="none"),
        canary("lint", good, CANARY_PROMTOOL=str(tmp_path / "absent")),
        canary("lint", good, CANARY_PROMTOOL=str(failing)),
    )
    assert silent.code == 0
    assert "note: 1 query was not parsed as PromQL: no promtool was used" in silent.out
    assert absent.code == 2
    assert broken.code == 1
    assert "failed with 9: out of order" in broken.err


@dataclass
class Cluster:
    """An API server with all definitions and a healthy shop, and a kubeconfig for it."""

    api: GenericApiServer
    kube: Kube
    env: dict[str, str]

    async def lint(self, *arguments: str) -> tuple[int, list[tuple[str, str]]]:
        ran = await canary("lint", "--live", "-o", "json", *arguments, **self.env)
        found = json.loads(ran.out)["findings"] if ran.out else []
        return ran.code, [(item["field"], item["message"]) for item in found]

    async def accept(self, name: str = "shop", *, generation: int = 1, status: str = "True") -> None:
        said = [
            {"type": kind, "status": status, "reason": "R", "message": "because", "observedGeneration": generation,
             "lastTransitionTime": "2024-05-01T10:00:00Z"}
            for kind in ("Accepted", "ResolvedRefs")
        ]  # fmt: skip
        parent = {"parentRef": {"name": "edge"}, "controllerName": "example.com/gateway", "conditions": said}
        await self.kube.merge_patch(HTTPROUTES, name, NS, {"status": {"parents": [parent]}}, subresource="status")


def route(name: str = "shop", canary_namespace: str | None = None) -> Json:
    refs: list[Json] = [{"name": "shop-stable", "port": 8080, "weight": 100}]
    refs.append({"name": "shop-canary", "port": 8080, "weight": 0})
    if canary_namespace:
        refs[1]["namespace"] = canary_namespace
    return {
        "apiVersion": HTTPROUTES.api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": refs}]},
    }


def gateway(name: str = "edge", **listener: Any) -> Json:
    return {
        "apiVersion": GATEWAYS.api_version,
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "gatewayClassName": "envoy",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", **listener}],
        },
    }


def service(name: str, namespace: str = NS) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 8080}]},
    }


@pytest.fixture
async def cluster(tmp_path: Path, no_promtool: dict[str, str]) -> AsyncIterator[Cluster]:
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config", namespace=NS)
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            for name in (NS, OTHER):
                await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            for name in ("shop-stable", "shop-canary"):
                await kube.create(SERVICES, service(name))
            await kube.create(GATEWAYS, gateway())
            await kube.create(HTTPROUTES, route())
            found = Cluster(api, kube, {**no_promtool, "KUBECONFIG": str(config)})
            await found.accept()
            yield found


async def test_live_passes_a_rollout_that_would_run(cluster: Cluster, tmp_path: Path) -> None:
    """Everything is there: no finding, and nothing was written."""
    assert await cluster.lint(write(tmp_path / "m.yaml", rollout())) == (0, [])
    config = cluster.api.audit
    assert {entry.verb for entry in config if "canary-cli" in entry.user_agent} == {"list"}


async def test_live_tells_what_the_preflight_would(cluster: Cluster, tmp_path: Path) -> None:
    """Each thing that is missing or refused in the cluster is an error at its field."""
    manifest = write(
        tmp_path / "m.yaml",
        rollout(
            routes=[{"name": "shop"}, {"name": "shopp"}],
            canary={"service": "shop-canary", "port": 8081},
            workloads={"stable": {"name": "shop-stable"}, "canary": {"name": "shop-canary"}},
            checks=[{"template": {"name": "latency"}}],
        ),
    )
    code, found = await cluster.lint(manifest)
    assert code == 1
    told = dict(found)
    assert "the only rule of route shop lists shop-canary:8080, not :8081" in told["spec.routes[0]"]
    assert f"there is no HTTPRoute shopp in namespace {NS}" in told["spec.routes[1]"]
    assert "Service shop-canary has no port 8081; its ports: 8080" in told["spec.canary.port"]
    assert told["spec.workloads.canary.name"] == f"there is no Deployment shop-canary in namespace {NS} in the cluster"
    assert told["spec.checks[0].template.name"].startswith("there is no CheckTemplate latency")


async def test_live_knows_templates_of_traffic(cluster: Cluster, tmp_path: Path) -> None:
    """Those of the cluster are read for the sake of `traffic` alone; one that is not there is an error at its field."""
    counted = {"template": {"name": "requests"}, "args": {"gateway": "edge"}}
    manifest = write(tmp_path / "m.yaml", rollout(traffic=counted))
    code, found = await cluster.lint(manifest)
    assert (code, [field for field, _ in found]) == (1, ["spec.traffic.template.name"])
    query = 'sum(n{gateway="{{ args.gateway }}", service="{{ backend.service }}"})'
    template = {
        "apiVersion": CHECKTEMPLATES.api_version,
        "kind": "CheckTemplate",
        "metadata": {"name": "requests", "namespace": NS},
        "spec": {"args": [{"name": "gateway"}], "traffic": {"prometheus": {"query": query}}},
    }
    await cluster.kube.create(CHECKTEMPLATES, template)
    assert await cluster.lint(manifest) == (0, [])


async def test_live_reads_the_kinds_that_are_named(cluster: Cluster, tmp_path: Path) -> None:
    """A GRPCRoute of the cluster is judged as an HTTPRoute is; a kind that is not served is told with what to install."""
    grpc = {**route(), "apiVersion": GRPCROUTES.api_version, "kind": "GRPCRoute"}
    routes = [{"kind": "GRPCRoute", "name": "shop"}, {"kind": "UDPRoute", "name": "shop"}]
    udp = {**route(), "apiVersion": UDPROUTES.api_version, "kind": "UDPRoute"}
    manifest = write(
        tmp_path / "m.yaml", rollout(routes=routes), udp
    )  # with its file at hand, where it could not be applied
    await remove(cluster.kube, "UDPRoute")
    try:
        code, found = await cluster.lint(manifest)
    finally:
        await install(cluster.kube, concise("UDPRoute"))
    assert code == 1
    told = dict(found)
    assert f"there is no GRPCRoute shop in namespace {NS}" in told["spec.routes[0]"]
    assert told["spec.routes[1]"].startswith(
        "this cluster serves no UDPRoute; install the definition udproutes.gateway"
    )
    await cluster.kube.create(GRPCROUTES, grpc)
    (words,) = [words for field, words in (await cluster.lint(manifest))[1] if field == "spec.routes[0]"]
    assert "GRPCRoute shop is not served: Gateway edge has not answered for the route yet" in words


async def test_live_reads_what_gateways_say_of_this_generation(cluster: Cluster, tmp_path: Path) -> None:
    """A refusal and an answer to an older generation are both no acceptance."""
    manifest = write(tmp_path / "m.yaml", rollout())
    await cluster.accept(status="False")
    code, ((field, words),) = await cluster.lint(manifest)
    assert (code, field) == (1, "spec.routes[0]")
    assert "Gateway edge says Accepted=False (R: because)" in words
    await cluster.accept(generation=0)
    _, ((_, words),) = await cluster.lint(manifest)
    assert "has not answered for generation 1 yet" in words


async def test_live_says_why_a_gateway_does_not_serve(cluster: Cluster, tmp_path: Path) -> None:
    """A listener that takes other routes, a Gateway that is not there; and nothing of what may not be read."""
    manifest = write(tmp_path / "m.yaml", rollout())
    closed = gateway(allowedRoutes={"kinds": [{"kind": "GRPCRoute"}]})["spec"]
    await cluster.kube.merge_patch(GATEWAYS, "edge", NS, {"spec": closed})
    assert await cluster.lint(manifest) == (0, []), "what the gateway says of the route counts more"
    await cluster.kube.merge_patch(HTTPROUTES, "shop", NS, {"status": {"parents": []}}, subresource="status")
    code, ((field, words),) = await cluster.lint(manifest)
    assert (code, field) == (1, "spec.routes[0]")
    assert words.startswith("no listener of Gateway edge takes HTTPRoutes, so it does not serve HTTPRoute shop")
    await cluster.kube.delete(GATEWAYS, "edge", NS)
    await cluster.accept()
    _, ((_, words),) = await cluster.lint(manifest)
    assert words.startswith(f"there is no Gateway edge in namespace {NS} in the cluster, which HTTPRoute shop names")
    cluster.api.faults.add(Fault(verb="list", resource="gateways", status=403))
    assert await cluster.lint(manifest) == (0, [])


async def test_live_says_which_label_a_namespace_lacks(cluster: Cluster, tmp_path: Path) -> None:
    """Read for a listener that chooses by labels, and only then; without the right to, the gateway has the word."""
    manifest = write(tmp_path / "m.yaml", rollout())
    await cluster.kube.merge_patch(HTTPROUTES, "shop", NS, {"status": {"parents": []}}, subresource="status")
    terms = [{"key": "public", "operator": "In", "values": ["yes"]}]
    choosy = {"namespaces": {"from": "Selector", "selector": {"matchExpressions": terms}}}
    await cluster.kube.merge_patch(GATEWAYS, "edge", NS, {"spec": gateway(allowedRoutes=choosy)["spec"]})
    code, ((field, words),) = await cluster.lint(manifest)
    assert (code, field) == (1, "spec.routes[0]")
    assert words.startswith(
        "Gateway edge takes routes of namespaces with public=yes only, so it does not serve HTTPRoute"
    )
    fault = cluster.api.faults.add(Fault(verb="get", resource="namespaces", status=403, times=None))
    _, ((_, words),) = await cluster.lint(manifest)
    assert "Gateway edge has not answered for the route yet" in words
    cluster.api.faults.remove(fault)
    of_the_files = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS, "labels": {"team": "shop"}}}
    both = write(tmp_path / "both.yaml", rollout(), of_the_files)
    _, ((_, words),) = await cluster.lint(both)
    assert "takes routes of namespaces with public=yes only" in words
    await cluster.kube.merge_patch(NAMESPACES, NS, None, {"metadata": {"labels": {"public": "yes"}}})
    for manifests in (manifest, both):
        _, ((_, words),) = await cluster.lint(manifests)
        assert "Gateway edge has not answered for the route yet" in words


async def test_live_looks_for_policies_about_a_rule_that_a_step_copies(cluster: Cluster, tmp_path: Path) -> None:
    """None there are; one there is; and where that may not be seen it is a note, since the controller may."""
    steps = [{"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}]}, {"weight": 100}]
    manifest = write(tmp_path / "m.yaml", rollout(steps=steps))
    rules = [{**route()["spec"]["rules"][0], "name": "pay"}]
    await cluster.kube.merge_patch(HTTPROUTES, "shop", NS, {"spec": {"rules": rules}})
    await cluster.accept(generation=2)
    assert await cluster.lint(manifest) == (0, [])
    await install(cluster.kube, policy_definition())
    policies = Resource("gateway.envoyproxy.io", "v1alpha1", "securitypolicies", "SecurityPolicy")
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop", "sectionName": "pay"}
    metadata = {"name": "login", "namespace": NS}
    await cluster.kube.create(
        policies,
        {
            "apiVersion": policies.api_version,
            "kind": "SecurityPolicy",
            "metadata": metadata,
            "spec": {"targetRefs": [target]},
        },
    )
    code, ((field, words),) = await cluster.lint(manifest)
    assert (code, field) == (1, "spec.steps[0]")
    assert "would copy rule pay of HTTPRoute shop, which SecurityPolicy login targets by its name" in words
    cluster.api.faults.add(Fault(verb="list", resource="securitypolicies", status=403))
    code, ((field, words),) = await cluster.lint(manifest)
    assert (code, field) == (0, "spec.steps[0]")
    assert "whether a policy targets that rule by its name cannot be seen from the cluster" in words


async def test_live_knows_rivals_and_itself(cluster: Cluster, tmp_path: Path) -> None:
    """Another Rollout on the rule was there first; the same Rollout, applied before, is no rival of itself."""
    manifest = write(tmp_path / "m.yaml", rollout())
    await cluster.kube.create(ROLLOUTS, rollout())
    assert await cluster.lint(manifest) == (0, [])
    second = write(tmp_path / "second.yaml", rollout("second"))
    code, ((field, words),) = await cluster.lint(second)
    assert (code, field) == (1, "spec.routes[0]")
    assert words.startswith("Rollout shop drives rule #0 of HTTPRoute shop already")


@pytest.mark.parametrize("phase", ["Idle", "Progressing"])
async def test_live_sees_that_a_comparer_is_gone_also_during_a_run(
    cluster: Cluster, tmp_path: Path, phase: str
) -> None:
    """A run is not ended by what has vanished around its routes; whoever asks is told all the same."""
    mirror = {"percent": 20, "comparer": {"service": "compare", "port": 8080}}
    get = [{"path": {"type": "PathPrefix", "value": "/"}, "method": "GET"}]
    rules = [{**route()["spec"]["rules"][0], "matches": get}]
    await cluster.kube.merge_patch(HTTPROUTES, "shop", NS, {"spec": {"rules": rules}})
    await cluster.accept(generation=2)
    checks = [*rollout()["spec"]["checks"], {"name": "same", "mirrored": {}}]
    document = rollout(steps=[{"mirror": mirror, "hold": "5m"}, {"weight": 50, "hold": "5m"}], checks=checks)
    await cluster.kube.create(ROLLOUTS, document)
    run = {"number": 1, "startedAt": "2026-05-01T10:00:00Z"}
    step = {"index": 1, "total": 2, "startedAt": "2026-05-01T10:00:00Z"}
    status = {"phase": phase, **({"run": run, "step": step} if phase != "Idle" else {})}
    await cluster.kube.merge_patch(ROLLOUTS, "shop", NS, {"status": status}, subresource="status")
    manifest = write(tmp_path / "m.yaml", document)
    _, found = await cluster.lint(manifest)
    assert (
        "spec.steps[0].mirror.comparer.service",
        f"there is no Service compare in namespace {NS} in the cluster",
    ) in found
    await cluster.kube.create(SERVICES, service("compare"))
    _, found = await cluster.lint(manifest)
    assert not any("Service" in words for _, words in found)


async def test_live_wants_a_grant_where_a_namespace_is_crossed(cluster: Cluster, tmp_path: Path) -> None:
    """Without a ReferenceGrant the gateway would not resolve the backend."""
    await cluster.kube.create(SERVICES, service("shop-canary", OTHER))
    await cluster.kube.create(HTTPROUTES, route("crossing", OTHER))
    await cluster.accept("crossing")
    target = {"service": "shop-canary", "port": 8080, "namespace": OTHER}
    manifest = write(tmp_path / "m.yaml", rollout(routes=[{"name": "crossing"}], canary=target))
    code, ((field, words),) = await cluster.lint(manifest)
    assert (code, field) == (1, "spec.canary.namespace")
    assert f"no ReferenceGrant of namespace {OTHER} in the cluster" in words
    grant = {
        "apiVersion": REFERENCEGRANTS.api_version,
        "kind": "ReferenceGrant",
        "metadata": {"name": "shop", "namespace": OTHER},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": NS}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    await cluster.kube.create(REFERENCEGRANTS, grant)
    assert await cluster.lint(manifest) == (0, [])


async def test_live_takes_what_is_about_to_be_applied_from_the_files(cluster: Cluster, tmp_path: Path) -> None:
    """A route and a template of the same files need not be in the cluster yet; that nobody accepted it is a note."""
    template = {
        "apiVersion": CHECKTEMPLATES.api_version,
        "kind": "CheckTemplate",
        "metadata": {"name": "errors", "namespace": NS},
        "spec": {"prometheus": {"query": QUERY}, "threshold": {"max": 1}},
    }
    mine = rollout(routes=[{"name": "new"}], checks=[{"template": {"name": "errors"}}])
    code, ((field, words),) = await cluster.lint(write(tmp_path / "m.yaml", mine, route("new"), template))
    assert (code, field) == (0, "spec.routes[0]")
    assert "is not in the cluster yet" in words


async def test_live_says_what_may_not_be_read(cluster: Cluster, tmp_path: Path) -> None:
    """403 names the resource and ends with 6."""
    cluster.api.faults.add(Fault(verb="list", resource="services", status=403, times=1))
    manifest = write(tmp_path / "m.yaml", rollout())
    ran = await canary("lint", "--live", manifest, **cluster.env)
    assert ran.code == 6
    assert f"--live reads services in namespace {NS}" in ran.err


@pytest.mark.sandbox_only("a server without our definitions: those of a real one are the whole session's")
async def test_live_needs_a_cluster_with_canary(tmp_path: Path, no_promtool: dict[str, str]) -> None:
    """No canary in the cluster ends with 5, no cluster with 7."""
    manifest = write(tmp_path / "m.yaml", rollout())
    async with ApiServer() as bare:
        env = {**no_promtool, "KUBECONFIG": str(bare.kubeconfig(tmp_path / "bare"))}
        assert (await canary("lint", "--live", manifest, **env)).code == 5
    assert (await canary("lint", "--live", manifest, **env)).code == 7


async def test_a_deployment_in_the_cluster_is_found(cluster: Cluster, tmp_path: Path) -> None:
    """Labels of the pods are compared with the Service that is meant to reach them."""
    for role in ("stable", "canary"):
        labels = {"app": f"shop-{role}" if role == "stable" else "wrong"}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"shop-{role}", "namespace": NS},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}},
            },
        }
        await cluster.kube.create(DEPLOYMENTS, body)
    workloads = {"stable": {"name": "shop-stable"}, "canary": {"name": "shop-canary"}}
    code, ((field, words),) = await cluster.lint(write(tmp_path / "m.yaml", rollout(workloads=workloads)))
    assert (code, field) == (1, "spec.workloads.canary.name")
    assert "selects app=shop-canary, which the pods of Deployment shop-canary do not have" in words


HEAVY = ("kubernetes", "kopf", "pydantic_core", "aiohttp", "httpx", "rich", "yaml", "jsonschema", "cel")
LOADED = """
import sys
sys.argv = ["canary", "--help"]
from canary.cli.main import main
try:
    main()
except SystemExit:
    sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules}))
"""


async def test_the_new_verbs_cost_nothing_until_they_are_used() -> None:
    """Help lists them without loading what they need; each explains itself with examples."""
    top, *each = await asyncio.gather(
        canary("-c", LOADED, command=(sys.executable,)),
        *(canary(verb, "--help") for verb in ("lint", "wait", "doctor", "plan", "backtest")),
    )
    assert not set(HEAVY) & set(top.err.split())
    for verb, ran in zip(("lint", "wait", "doctor", "plan", "backtest"), each, strict=True):
        assert f"  {verb} " in top.out
        assert ran.code == 0
        assert f"    canary {verb} " in ran.out


async def test_lint_needs_nothing_of_the_sandbox(tmp_path: Path, no_promtool: dict[str, str]) -> None:
    """It works in an installation without the extra packages: neither they nor the sandbox are imported."""
    good = write(tmp_path / "good.yaml", rollout())
    script = f"""
import sys
sys.argv = ["canary", "lint", {good!r}]
from canary.cli.main import main
try:
    main()
except SystemExit as end:
    print(end.code, [name for name in sys.modules if name.startswith(("canary_sandbox", "jsonpatch", "envoy", "aiohttp"))])
"""
    ran = await canary("-c", script, command=(sys.executable,), **no_promtool)
    assert ran.out.splitlines()[-1] == "0 []", ran.err
