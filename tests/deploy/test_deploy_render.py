"""What kustomize and Helm render: the same objects, a container with no power, alerts that fire when they should."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from deploy_kit import (
    CHART,
    COMPONENTS,
    DEPLOY,
    IMAGE,
    OVERLAYS,
    PLACEHOLDER,
    ROOT,
    SYSTEM,
    TEAM,
    Town,
    grants,
    key,
    kustomized,
    load,
    named,
    overlay_with,
    program,
    run,
    templated,
    told_everything,
)

from canary import __version__
from canary.cli.main import build

Json = dict[str, Any]

MONITORING = tuple(f"monitoring.{part}.enabled=true" for part in ("serviceMonitor", "prometheusRule", "dashboard"))
OURS = re.compile(r"\bcanary_[a-z_]+")


def substance(document: Json) -> Json:
    """A document without what names its packaging: labels, and selectors that are built on them."""
    copy: Json = json.loads(json.dumps(document))
    copy["metadata"].pop("labels", None)
    spec = copy.get("spec") or {}
    pod = spec.get("template", {})
    spread = pod.get("spec", {}).get("topologySpreadConstraints", [])
    for holder in (spec, pod.get("metadata", {}), *spread):
        for name in ("selector", "podSelector", "labelSelector", "labels"):
            holder.pop(name, None)
    for container in spec.get("template", {}).get("spec", {}).get("containers", []):
        container["env"].sort(key=lambda one: one["name"])
    return copy


@pytest.mark.parametrize(
    ("overlay", "settings"),
    [("cluster-wide", ()), ("namespaced", (f"namespaces={{{TEAM}}}",))],
    ids=str,
)
def test_the_chart_and_the_overlay_are_the_same(tmp_path: Path, overlay: str, settings: tuple[str, ...]) -> None:
    """Same kinds and names, same rights, and object by object the same substance; the chart adds the definitions."""
    ours = {key(one): one for one in kustomized(overlay_with(tmp_path, overlay, "monitoring"))}
    theirs = {key(one): one for one in templated(*settings, *MONITORING)}
    definitions = {one for one in theirs if one[0] == "CustomResourceDefinition"}
    assert len(definitions) == 5
    assert set(theirs) - definitions == set(ours) - {("Namespace", "", SYSTEM)}  # Helm has --create-namespace
    assert grants(list(ours.values())) == grants(list(theirs.values()))
    for name in set(theirs) - definitions:
        if name[0] not in {"Role", "ClusterRole"} or name[2] in {"canary-view", "canary-edit"}:
            assert substance(theirs[name]) == substance(ours[name]), name


def test_the_chart_brings_the_definitions_as_they_are() -> None:
    """The definitions of the chart are those of crds/, kept when the release goes."""
    printed = {key(one): one for path in sorted((ROOT / "crds").glob("*.yaml")) for one in load(path)}
    rendered = {key(one): one for one in templated() if one["kind"] == "CustomResourceDefinition"}
    assert set(rendered) == set(printed)
    for name, definition in rendered.items():
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert definition["spec"] == printed[name]["spec"]
    assert not [one for one in templated("crds.install=false") if one["kind"] == "CustomResourceDefinition"]


def test_versions_agree() -> None:
    """Package, chart and kustomization name the same version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    for documents in (kustomized(OVERLAYS / "cluster-wide"), templated()):
        (container,) = named(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{PLACEHOLDER}:{__version__}"


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_the_documented_kustomization_replaces_the_image_before_anything_is_applied(tmp_path: Path, page: str) -> None:
    """Whoever types what the page says, from top to bottom, applies the image that they have pushed, and no other."""
    text = (ROOT / page).read_text()
    written = re.search(r"^( *)cat > (\S+/kustomization\.yaml) <<'END'\n(.*?)^ *END\n", text, re.MULTILINE | re.DOTALL)
    assert written, f"{page} shows no kustomization"
    applied = re.search(r"kubectl apply -k (\S+)", text)
    assert applied
    assert text.index("docker push") < written.start() < applied.start()
    assert written[2] == f"{applied[1]}/kustomization.yaml"
    (tmp_path / "deploy").symlink_to(DEPLOY)
    mine = tmp_path / written[2]
    mine.parent.mkdir()
    mine.write_text(textwrap.dedent(written[3]))
    (pushed,) = set(re.findall(r"docker push (\S+)", text))
    (container,) = named(kustomized(mine.parent), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == pushed == f"registry.example.com/canary:{__version__}"


def test_the_documented_copy_of_the_namespaced_overlay_renders(tmp_path: Path) -> None:
    """Whoever types what the page says has the overlay's objects, and its rights in each of their namespaces and in no other."""
    page = (ROOT / "docs" / "install.md").read_text().partition("\n## With kustomize\n")[2].partition("\n## ")[0]
    about = page.index("`overlays/namespaced`")
    written = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL).search(page, about)
    assert written, "the page shows no kustomization"
    typed = [line for line in written[1].splitlines(keepends=True) if not line.startswith("kubectl apply ")]
    (tmp_path / "deploy").symlink_to(DEPLOY)
    subprocess.run(["sh", "-eu", "-c", "".join(typed)], cwd=tmp_path, check=True, timeout=20)

    mine, overlay = kustomized(tmp_path / "mine"), kustomized(OVERLAYS / "namespaced")
    (container,) = named(mine, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/canary:{__version__}"
    teams = next(one["value"] for one in container["env"] if one["name"] == "CANARY_NAMESPACES").split(",")
    assert len(teams) == len(set(teams)) > 1
    assert {key(one) for one in mine} == {
        (kind, team if namespace == TEAM else namespace, name)
        for kind, namespace, name in map(key, overlay)
        for team in teams
    }
    assert set(grants(mine)) == {
        replace(grant, namespace=team) if grant.namespace == TEAM else grant
        for grant in grants(overlay)
        for team in teams
    }


def test_an_image_that_nobody_named_is_evidently_to_be_replaced() -> None:
    """The kustomization names a host that cannot exist; the chart names none, and says what to do."""
    (container,) = named(kustomized(OVERLAYS / "cluster-wide"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert re.fullmatch(r"your-registry\.invalid/canary:[0-9.]+", container["image"])
    said = run(program("helm"), "template", "canary", CHART, ok=False)
    assert "image.repository is not set: there is no published image." in said
    assert "--set image.repository=registry.example.com/canary" in said


COPIES = {
    **{f"files/crds/{path.name}": path for path in sorted((ROOT / "crds").glob("*.yaml"))},
    "files/approvals.yaml": COMPONENTS / "approvals" / "policy.yaml",
    "files/dashboard.json": COMPONENTS / "monitoring" / "dashboard.json",
    "files/keep-weights.yaml": COMPONENTS / "keep-weights" / "policy.yaml",
    "files/prometheusrule.yaml": COMPONENTS / "monitoring" / "prometheusrule.yaml",
}


def test_the_chart_holds_copies_of_what_it_shares() -> None:
    """A chart may read nothing outside of its folder, and links are lost in archives and on some machines."""
    held = {str(path.relative_to(CHART)) for path in (CHART / "files").rglob("*") if not path.is_dir()}
    assert held == set(COPIES)
    for name, source in COPIES.items():
        assert not (CHART / name).is_symlink(), name
        assert (CHART / name).read_bytes() == source.read_bytes(), f"{name} is out of date: `make crds` copies it"
    assert not [path for path in CHART.rglob("*") if path.is_symlink()]


def test_the_chart_keeps_weights_as_the_component_does(tmp_path: Path) -> None:
    """The same policies and bindings, for the users that are listed; for none there are none."""
    ours = [
        one for one in kustomized(overlay_with(tmp_path, "cluster-wide", "keep-weights")) if "Policy" in one["kind"]
    ]
    ours = [one for one in ours if one["metadata"]["name"] == "canary-keep-weights"]
    assert len(ours) == 4
    users = [
        "system:serviceaccount:argocd:argocd-application-controller",
        "system:serviceaccount:flux-system:kustomize-controller",
    ]
    theirs = templated(f"keepWeights.appliers={{{','.join(users)}}}")
    for one in ours:
        assert substance(named(theirs, one["kind"])) == substance(one)
    (other,) = {
        one["spec"]["matchConditions"][0]["expression"]
        for one in templated("keepWeights.appliers={system:serviceaccount:cd:deployer}")
        if "matchConditions" in one.get("spec", {})
    }
    assert other == 'request.userInfo.username in ["system:serviceaccount:cd:deployer"]'
    assert not [one for one in templated() if "AdmissionPolicy" in one["kind"]]


def test_the_chart_checks_who_approves_as_the_component_does(tmp_path: Path) -> None:
    """The same policy and its binding, for who asks for them."""
    ours = [one for one in kustomized(overlay_with(tmp_path, "cluster-wide", "approvals")) if "Policy" in one["kind"]]
    ours = [one for one in ours if one["metadata"]["name"] == "canary-approvals"]
    assert {one["kind"] for one in ours} == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    theirs = templated("approvals.enabled=true")
    for one in ours:
        assert substance(named(theirs, one["kind"])) == substance(one)


def test_helm_has_no_warnings() -> None:
    """Neither rendering nor linting nor packaging says anything that a person would have to think about."""
    command = [program("helm"), "template", "canary", str(CHART), "--set", IMAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    command = [program("helm"), "lint", "--strict", str(CHART), "--set", IMAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert "WARNING" not in done.stdout


def test_the_container_has_no_power_it_does_not_need() -> None:
    """Not root, nothing writable, no capabilities, the default seccomp profile, and another to go on when it goes."""
    spec = named(kustomized(OVERLAYS / "cluster-wide"), "Deployment")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["replicas"], spec["strategy"]) == (
        2,
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    )
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "volumes" not in pod
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]["memory"]


FILES = {
    "prometheus-token": ({"token": "CANARY_PROMETHEUS_BEARER_TOKEN_FILE"}, "prometheus.bearerToken.secret"),
    "prometheus-ca": ({"ca.crt": "CANARY_PROMETHEUS_CA_FILE"}, "prometheus.ca.secret"),
    "prometheus-headers": ({"headers": "CANARY_PROMETHEUS_HEADER_FILE"}, "prometheus.headers.secret"),
    "prometheus-basic-auth": (
        {"username": "CANARY_PROMETHEUS_USERNAME_FILE", "password": "CANARY_PROMETHEUS_PASSWORD_FILE"},
        "prometheus.basicAuth.secret",
    ),
    "prometheus-client-certificate": (
        {"tls.crt": "CANARY_PROMETHEUS_CLIENT_CERTIFICATE_FILE", "tls.key": "CANARY_PROMETHEUS_CLIENT_KEY_FILE"},
        "prometheus.clientCertificate.secret",
    ),
}


@pytest.mark.parametrize(
    "chosen",
    [
        ("prometheus-token",),
        ("prometheus-ca", "prometheus-headers"),
        ("prometheus-basic-auth", "prometheus-client-certificate", "prometheus-ca", "prometheus-headers"),
    ],
    ids=str,
)
def test_what_prometheus_is_shown_is_mounted(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    """Component and value mount the same key of the same Secret, whole (so that it is renewed), where the variable says."""
    ours = kustomized(overlay_with(tmp_path, "cluster-wide", *chosen))
    theirs = templated(*(f"{FILES[name][1]}=canary-prometheus" for name in chosen))
    for documents in (ours, theirs):
        pod = named(documents, "Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        env = {one["name"]: one.get("value") for one in container["env"]}
        mounts = {one["name"]: one for one in container["volumeMounts"]}
        volumes = {one["name"]: one for one in pod["volumes"]}
        assert set(mounts) == set(volumes) == set(chosen)
        for name, (items, _) in FILES.items():
            if name not in chosen:
                assert not env.keys() & set(items.values())
                continue
            assert mounts[name] == {"name": name, "mountPath": f"/var/run/canary/{name}", "readOnly": True}
            assert volumes[name]["secret"] == {
                "secretName": "canary-prometheus",
                "items": [{"key": item, "path": item} for item in items],
            }
            for item, variable in items.items():
                assert env[variable] == f"/var/run/canary/{name}/{item}"


def test_what_gateways_can_is_mounted(tmp_path: Path) -> None:
    """Component and value mount the same key of a ConfigMap where the variable says, with Prometheus's files or without."""
    ours = kustomized(overlay_with(tmp_path, "cluster-wide", "gateway-features", "prometheus-token"))
    theirs = templated("gatewayFeatures.configMap=canary-gateway-features")
    alone = templated("gatewayFeatures.configMap=canary-gateway-features", "prometheus.url=")
    for documents in (ours, theirs, alone):
        pod = named(documents, "Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        volumes = {one["name"]: one for one in pod["volumes"]}
        file = "gateway-features.yaml"
        assert volumes["gateway-features"]["configMap"] == {
            "name": "canary-gateway-features",
            "items": [{"key": file, "path": file}],
        }
        mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert env["CANARY_GATEWAY_FEATURES"] == f"{mounts['gateway-features']}/{file}"


def test_the_authorities_may_come_from_a_config_map() -> None:
    """They are no secret; one of the two is enough, and without an address there is nobody to trust."""
    (volume,) = named(templated("prometheus.ca.configMap=bundle", "prometheus.ca.key=all.pem"), "Deployment")["spec"][
        "template"
    ]["spec"]["volumes"]
    assert volume["configMap"] == {"name": "bundle", "items": [{"key": "all.pem", "path": "all.pem"}]}
    for settings, complaint in (
        (("prometheus.ca.configMap=a", "prometheus.ca.secret=b"), "not both"),
        (("prometheus.bearerToken.secret=a", "prometheus.url="), "for prometheus.url, which is empty"),
        (("prometheus.headers.secret=A_b",), "secret"),
    ):
        options = [word for setting in (IMAGE, *settings) for word in ("--set", setting)]
        assert complaint in run(program("helm"), "template", "canary", CHART, *options, ok=False)


def test_selectors_find_the_pod() -> None:
    """Deployment, Service, budget, policy and ServiceMonitor select what the Deployment makes, in both packagings."""
    for documents in (kustomized(OVERLAYS / "cluster-wide"), templated(*MONITORING, "podLabels.team=platform")):
        deployment = named(documents, "Deployment")["spec"]
        service = named(documents, "Service")
        pod = deployment["template"]["metadata"]["labels"].items()
        assert deployment["selector"]["matchLabels"].items() <= pod
        assert service["spec"]["selector"].items() <= pod
        (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"].items() <= pod
        assert named(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= pod
        assert named(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= pod
        for monitor in [one for one in documents if one["kind"] == "ServiceMonitor"]:
            assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("image.repo=x", "repo"),
        ("namespaces={Team_Shop}", "namespaces"),
        ("prometheus.url=prometheus:9090", "url"),
        ("log.level=loud", "level"),
        ("replicas=-1", "replicas"),
        ("replica=2", "replica"),
        ("networkPolicy.prometheusPorts={0}", "prometheusPorts"),
        ("networkPolicy.comparerPorts={0}", "comparerPorts"),
        ("image.digest=latest", "digest"),
        ("topologySpreadConstraints[0].topologyKey=zone", "topologySpreadConstraints"),
        ("extraVolumeMounts[0].name=a", "extraVolumeMounts"),
        ("extraArgs[0]=", "extraArgs"),
        ("networkPolicy.extraEgress={a}", "extraEgress"),
        ("extraEnv[0].name=CANARY_ALLOW_HOSTS", "the chart sets CANARY_ALLOW_HOSTS itself, by allowHosts"),
        ("extraEnv[0].name=CANARY_LEASE", "the chart sets CANARY_LEASE itself"),
        ("extraArgs={--allow-hosts,*}", "extraArgs: the chart sets --allow-hosts itself, by allowHosts"),
        ("extraArgs={-nother}", "extraArgs: the chart sets -n itself, by namespaces"),
        ("podLabels.app\\.kubernetes\\.io/name=evil", "podLabels: the chart sets app.kubernetes.io/name itself"),
        (
            "podAnnotations.kubectl\\.kubernetes\\.io/default-container=x",
            "podAnnotations: the chart sets kubectl.kubernetes.io/default-container itself",
        ),
    ],
)
def test_the_chart_refuses_values_that_mean_nothing(setting: str, complaint: str) -> None:
    """A value that is misspelt, or out of range, is refused by the schema instead of being ignored."""
    said = run(program("helm"), "template", "canary", CHART, "--set", IMAGE, "--set", setting, ok=False)
    assert complaint in said


SHOWN = (
    ("bearerToken.secret=a", "ca.secret=a", "headers.secret=a", "clientCertificate.secret=a"),
    ("basicAuth.secret=a", "ca.configMap=a"),
)


@pytest.mark.parametrize("files", SHOWN, ids=["token", "password"])
def test_what_the_chart_sets_is_not_set_twice(files: tuple[str, ...]) -> None:
    """By no name: each variable that the container has, and each variable and option of the controller that means the same, old ones too."""
    values = [IMAGE, "prometheus.url=http://a", "gatewayFeatures.configMap=a", *(f"prometheus.{one}" for one in files)]

    def render(*more: str, ok: bool = True) -> str:
        options = [word for value in (*values, *more) for word in ("--set", value)]
        return run(program("helm"), "template", "canary", CHART, *options, "-s", "templates/deployment.yaml", ok=ok)

    (container,) = yaml.safe_load(render())["spec"]["template"]["spec"]["containers"]
    variables = {one["name"] for one in container["env"]}
    options: set[str] = set()
    assert variables >= {"CANARY_ALLOW_HOSTS", "CANARY_GATEWAY_FEATURES", "CANARY_PROMETHEUS_CA_FILE"}
    for parameter in controller_options():
        names = {parameter.envvar} if isinstance(parameter.envvar, str) else set(parameter.envvar or ())
        if names & variables:
            variables |= names
            options |= set(parameter.opts)
    assert {"CANARY_PROMETHEUS_HOSTS", "--prometheus-hosts", "--lease", "-n"} <= variables | options
    said = render(
        *(f"extraEnv[{index}].name={name}" for index, name in enumerate(sorted(variables))),
        *(f"extraArgs[{index}]={name}=x" for index, name in enumerate(sorted(options))),
        ok=False,
    )
    told = set(re.findall(r"the chart sets (\S+) itself", said))
    assert told == variables | options


def test_no_name_of_what_the_chart_sets_is_left_to_a_secret() -> None:
    """`env` wins over `envFrom`, so what the chart sets is set there by each of its names: nobody sees into what extraEnvFrom names."""
    (container,) = named(templated(*EXTRA), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"]
    there = {one["name"] for one in container["env"]}
    for parameter in controller_options():
        names = {parameter.envvar} if isinstance(parameter.envvar, str) else set(parameter.envvar or ())
        assert not names & there or names <= there, f"{names - there} would be read from a Secret"


def controller_options() -> list[Any]:
    """Of `canary controller run`."""
    program: Any = typer.main.get_command(build())
    return list(program.commands["controller"].commands["run"].params)


def test_every_value_is_in_the_schema_and_every_one_in_the_schema_has_a_default() -> None:
    """values.yaml and values.schema.json list the same values, each described."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def leaves(of: Json, path: str = "") -> Iterator[str]:
        for name, one in of["properties"].items():
            if "properties" in one:
                yield from leaves(one, f"{path}{name}.")
            else:
                assert one.get("description") or one.get("uniqueItems"), f"{path}{name}"
                yield f"{path}{name}"

    def given(of: Json, known: set[str], path: str = "") -> Iterator[str]:
        for name, one in of.items():
            if isinstance(one, dict) and f"{path}{name}" not in known:
                yield from given(one, known, f"{path}{name}.")
            else:
                yield f"{path}{name}"

    known = set(leaves(schema))
    assert set(given(values, known)) == known - {"global"}


def test_helm_lint_has_nothing_to_say_against_the_chart() -> None:
    """`helm lint --strict`, with an image and without."""
    assert "0 chart(s) failed" in run(program("helm"), "lint", "--strict", CHART, "--set", IMAGE)
    assert "0 chart(s) failed" in run(program("helm"), "lint", "--strict", CHART)


def test_the_options_of_the_chart_arrive() -> None:
    """Image by digest, another account, Prometheus hosts, ports of the policy, what the pod is scheduled by."""
    digest = "sha256:" + "0" * 64
    documents = templated(
        f"image.digest={digest}",
        "serviceAccount.create=false",
        "serviceAccount.name=mine",
        "prometheus.hosts={a:9090,b}",
        "allowHosts={b,.example.com,10.0.0.0/8}",
        "networkPolicy.apiServerPorts={16443}",
        "networkPolicy.prometheusPorts=null",
        "networkPolicy.comparerPorts={9999}",
        "nodeSelector.pool=system",
        "priorityClassName=high",
        "podDisruptionBudget.enabled=false",
        "rbac.teamRoles=false",
    )
    pod = named(documents, "Deployment")["spec"]["template"]["spec"]
    env = {one["name"]: one.get("value", "") for one in pod["containers"][0]["env"]}
    assert pod["containers"][0]["image"] == f"{PLACEHOLDER}@{digest}"
    assert (pod["serviceAccountName"], pod["nodeSelector"], pod["priorityClassName"]) == (
        "mine",
        {"pool": "system"},
        "high",
    )
    assert env["CANARY_ALLOW_HOSTS"] == "b,.example.com,10.0.0.0/8,a:9090"
    egress = named(documents, "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in egress for port in rule["ports"]] == [53, 53, 16443, 9999]
    kinds = {one["kind"] for one in documents}
    assert not kinds & {"ServiceAccount", "PodDisruptionBudget"}
    assert grants(documents, account="mine") == grants(kustomized(OVERLAYS / "cluster-wide"))
    assert not [one for one in documents if one["metadata"]["name"] in {"canary-view", "canary-edit"}]


EXTRA = (
    "extraEnv[0].name=TZ",
    "extraEnv[0].value=Europe/Berlin",
    "extraEnv[1].name=CANARY_PROMETHEUS_BEARER_TOKEN_FILE",
    "extraEnv[1].value=/var/run/tokens/prometheus",
    "extraEnvFrom[0].secretRef.name=ours",
    "extraArgs={--gateway-features,/etc/features.yaml}",
    "extraVolumes[0].name=tokens",
    "extraVolumes[0].projected.sources[0].serviceAccountToken.path=prometheus",
    "extraVolumeMounts[0].name=tokens",
    "extraVolumeMounts[0].mountPath=/var/run/tokens",
    "topologySpreadConstraints[0].maxSkew=2",
    "topologySpreadConstraints[0].topologyKey=zone",
    "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
    "topologySpreadConstraints[1].maxSkew=1",
    "topologySpreadConstraints[1].topologyKey=rack",
    "topologySpreadConstraints[1].whenUnsatisfiable=ScheduleAnyway",
    "topologySpreadConstraints[1].labelSelector.matchLabels.of=ours",
    "networkPolicy.extraEgress[0].ports[0].port=8086",
)


def test_what_a_platform_adds_arrives_besides_what_the_chart_has() -> None:
    """Variables, options, a token of its own in a volume, how pods are spread, another port: nothing that the chart has is lost."""
    plain = templated("prometheus.ca.secret=ca")
    added = templated("prometheus.ca.secret=ca", *EXTRA)
    before, after = (named(documents, "Deployment")["spec"]["template"]["spec"] for documents in (plain, added))
    (was,), (now,) = before["containers"], after["containers"]
    token = {"name": "CANARY_PROMETHEUS_BEARER_TOKEN_FILE", "value": "/var/run/tokens/prometheus"}
    old = {"name": "CANARY_PROMETHEUS_HOSTS"}  # which no Secret may set
    assert now["env"] == [*was["env"], old, {"name": "TZ", "value": "Europe/Berlin"}, token]
    assert now["envFrom"] == [{"secretRef": {"name": "ours"}}]
    assert was["args"] == ["controller", "run"]
    assert now["args"] == [*was["args"], "--gateway-features", "/etc/features.yaml"]
    assert now["volumeMounts"] == [*was["volumeMounts"], {"name": "tokens", "mountPath": "/var/run/tokens"}]
    assert [one["name"] for one in after["volumes"]] == ["prometheus-ca", "tokens"]
    (spread,), (ours, selected) = before["topologySpreadConstraints"], after["topologySpreadConstraints"]
    assert (ours["maxSkew"], ours["topologyKey"], ours["whenUnsatisfiable"]) == (2, "zone", "DoNotSchedule")
    assert ours["labelSelector"] == spread["labelSelector"]
    assert selected["labelSelector"] == {"matchLabels": {"of": "ours"}}
    policies = [named(documents, "NetworkPolicy")["spec"]["egress"] for documents in (plain, added)]
    assert policies[1] == [*policies[0], {"ports": [{"port": 8086}]}]
    changed = {"containers", "volumes", "topologySpreadConstraints"}
    assert {name for name in after if after[name] != before[name]} == changed
    assert {name for name in now if now[name] != was.get(name)} == {"env", "envFrom", "args", "volumeMounts"}


def test_pods_may_be_spread_by_somebody_else() -> None:
    """An empty list is none. Volumes need no file of Prometheus's beside them, and labels need not be."""
    none = "extraVolumes[0].name=a,podLabels=null,podAnnotations=null,extraArgs=null"
    settings = ("--set-json", "topologySpreadConstraints=[]", "--set", none)
    text = run(
        program("helm"), "template", "canary", CHART, "--set", IMAGE, *settings, "-s", "templates/deployment.yaml"
    )
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    assert "topologySpreadConstraints" not in pod
    assert [one["name"] for one in pod["volumes"]] == ["a"]


# -- the container, as a process ----------------------------------------------------------------------------------------

WATCHED_WRITES = """
import sys
def hook(event, args):
    if event == "open" and isinstance(args[0], str) and not args[0].startswith("/dev/"):
        mode, flags = args[1], args[2]
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & 0o3):
            sys.stderr.write(f"WROTE {args[0]}\\n")
    elif event in ("os.mkdir", "os.rename", "os.remove", "tempfile.mkstemp"):
        sys.stderr.write(f"WROTE {args}\\n")
sys.addaudithook(hook)
from canary.cli.main import main
sys.argv = ["canary", *sys.argv[1:]]
main()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def leads(http: httpx.AsyncClient) -> bool:
    """Whether it holds its Lease, within five seconds."""
    for _ in range(100):
        if "canary_leader 1.0" in (await http.get("/metrics")).text:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_the_container_runs_as_it_is_declared(place: Town, tmp_path: Path) -> None:
    """Arguments, environment and probes of the rendered container, as a process: it gets ready and writes no file."""
    await asyncio.to_thread(place.kubectl, "apply", "-f", str(ROOT / "crds"))
    (container,) = named(kustomized(OVERLAYS / "cluster-wide"), "Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    listening = free_port()
    env = {one["name"]: one.get("value", "").replace("$(POD_NAMESPACE)", SYSTEM) for one in container["env"]}
    assert env["CANARY_LEASE"] == f"{SYSTEM}/canary-controller"
    await place.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}])
    assert env["CANARY_METRICS_ADDRESS"] == f"0.0.0.0:{port['containerPort']}"
    env |= {
        "CANARY_METRICS_ADDRESS": f"127.0.0.1:{listening}",
        "KUBECONFIG": str(place.kubeconfig),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-c", WATCHED_WRITES, *container["args"]]
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=output, stderr=output, cwd="/")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening}", trust_env=False) as http:
            for probe in ("livenessProbe", "readinessProbe"):
                ask = container[probe]["httpGet"]
                assert ask["port"] == port["name"]
                assert await answers(http, ask["path"]), log.read_text()
            exposed = (await http.get("/metrics")).text
            assert "canary_build_info" in exposed
            assert await leads(http), log.read_text()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = log.read_text()
    assert "WROTE" not in said, said
    assert json.loads(said.splitlines()[0])


async def answers(http: httpx.AsyncClient, path: str) -> bool:
    """Whether a probe succeeds within what a kubelet's patience is worth here."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if (await http.get(path)).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    return False


# -- monitoring ---------------------------------------------------------------------------------------------------------


def rules() -> Json:
    spec: Json = load(COMPONENTS / "monitoring" / "prometheusrule.yaml")[0]["spec"]
    return spec


def expressions() -> list[str]:
    """Every query of the alerts and the dashboard, variables of Grafana filled in."""
    found = [rule["expr"] for group in rules()["groups"] for rule in group["rules"]]
    dashboard = json.loads((COMPONENTS / "monitoring" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        found += [target["expr"] for target in panel["targets"]]
    return [re.sub(r"\$\w+", "x", expression) for expression in found]


def test_alerts_and_dashboard_name_series_that_exist() -> None:
    """Every canary_… series that is asked for is one that the controller has, by its exact name."""
    telemetry = told_everything()
    exposed = {sample.name for family in telemetry.registry.collect() for sample in family.samples}
    asked = {name for expression in expressions() for name in OURS.findall(expression)}
    assert asked
    assert asked <= exposed, asked - exposed


def test_every_query_is_promql(tmp_path: Path) -> None:
    """promtool accepts the rules as they are, and each query of the dashboard."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules()))
    assert "SUCCESS" in run(program("promtool"), "check", "rules", file)
    records = [{"record": f"query:{index}", "expr": expr} for index, expr in enumerate(expressions())]
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": records}]}))
    assert f"{len(records)} rules found" in run(program("promtool"), "check", "rules", file)


def series(text: str, values: str) -> Json:
    return {"series": text, "values": values}


def weight(stage: str) -> str:
    return f'canary_rollout_weight_percent{{namespace="t", rollout="shop", stage="{stage}"}}'


def waits(reason: str) -> str:
    return f'canary_rollout_waits{{namespace="t", rollout="shop", for="{reason}"}}'


ALERTS: tuple[tuple[str, list[Json], str, set[str]], ...] = (
    ("a run at rest", [series(weight("desired"), "0x800"), series(weight("accepted"), "0x800")], "7h", set()),
    (
        "half a day at one weight",
        [series(weight("desired"), "50x800"), series(weight("accepted"), "50x800")],
        "7h",
        {"CanaryRunStalled"},
    ),
    ("an hour at one weight", [series(weight("desired"), "50x60"), series(weight("accepted"), "50x60")], "1h", set()),
    (
        "a gateway that does not follow",
        [series(weight("desired"), "50x60"), series(weight("accepted"), "10x60")],
        "20m",
        {"CanaryWeightNotAccepted"},
    ),
    (
        "a check without data",
        [series('canary_check_verdict{namespace="t", rollout="shop", check="e", verdict="Unknown"}', "1x60")],
        "10m",
        {"CanaryCheckUnknown"},
    ),
    (
        "a run that was rolled back, and one that was not",
        [
            series('canary_runs_finished_total{namespace="t", rollout="shop", result="RolledBack"}', "0x30 1x60"),
            series('canary_runs_finished_total{namespace="t", rollout="cart", result="Succeeded"}', "0x30 1x60"),
        ],
        "35m",
        {"CanaryRolledBack"},
    ),
    ("an approval in the morning", [series(waits("AwaitingApproval"), "1x180")], "3h", set()),
    ("an approval that nobody gives", [series(waits("AwaitingApproval"), "1x300")], "5h", {"CanaryAwaitingApproval"}),
    ("a route that two drive", [series(waits("Contested"), "1x60")], "1m", {"CanaryContested"}),
    ("a spec that is mended at once", [series(waits("Invalid"), "1x5")], "5m", set()),
    ("a spec that cannot work", [series(waits("Invalid"), "1x60")], "20m", {"CanaryInvalid"}),
    ("a pause that somebody asked for", [series(waits("PausedByRequest"), "1x600")], "8h", set()),
    (
        "messages that arrive, and others that do not",
        [
            series('canary_notifications_total{kind="NotificationTarget", namespace="t", target="a", result="delivered"}', "0+1x60"),
            series('canary_notifications_total{kind="NotificationTarget", namespace="t", target="b", result="failed"}', "0x20 1x40"),
        ],
        "25m",
        {"CanaryNotificationsFail"},
    ),
    ("one works", [series('canary_leader{pod="a"}', "1x60"), series('canary_leader{pod="b"}', "0x60")], "10m", set()),
    (
        "none works",
        [series('canary_leader{pod="a"}', "1 0x60"), series('canary_leader{pod="b"}', "0x60")],
        "10m",
        {"CanaryNobodyLeads"},
    ),
    (
        "slow ticks",
        [
            series('canary_tick_duration_seconds_bucket{le="0.5"}', "0+1x60"),
            series('canary_tick_duration_seconds_bucket{le="1"}', "0+100x60"),
            series('canary_tick_duration_seconds_bucket{le="+Inf"}', "0+100x60"),
        ],
        "20m",
        {"CanaryControllerBehind"},
    ),
    (
        "fast ticks",
        [
            series('canary_tick_duration_seconds_bucket{le="0.5"}', "0+100x60"),
            series('canary_tick_duration_seconds_bucket{le="+Inf"}', "0+100x60"),
        ],
        "20m",
        set(),
    ),
    (
        "a late rollback",
        [
            series('canary_rollback_latency_seconds_bucket{le="1"}', "0x30 0x60"),
            series('canary_rollback_latency_seconds_bucket{le="2"}', "0x30 1x60"),
            series('canary_rollback_latency_seconds_bucket{le="+Inf"}', "0x30 1x60"),
        ],
        "35m",
        {"CanaryRollbackSlow"},
    ),
    (
        "an API server with errors",
        [
            series('canary_api_request_duration_seconds_count{verb="patch", resource="httproutes", code="200"}', "0+9x60"),
            series('canary_api_request_duration_seconds_count{verb="patch", resource="httproutes", code="500"}', "0+1x60"),
        ],
        "20m",
        {"CanaryApiErrors"},
    ),
    (
        "a role that is missing",
        [
            series('canary_api_request_duration_seconds_count{verb="patch", resource="httproutes", code="200"}', "0+9x60"),
            series('canary_api_request_duration_seconds_count{verb="patch", resource="httproutes", code="403"}', "0+1x3"),
        ],
        "5m",
        {"CanaryForbidden"},
    ),
)  # fmt: skip


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    """Each story makes exactly its alerts fire, as Prometheus itself computes; without a controller one says so."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    names = [rule["alert"] for group in rules()["groups"] for rule in group["rules"]]
    alive = series("canary_build_info", "1x800")
    stories = [(what, [alive, *given], at, fires) for what, given, at, fires in ALERTS]
    stories.append(("no controller", [], "10m", {"CanaryControllerAbsent"}))
    assert {name for *_, fires in stories for name in fires} == set(names)
    tests = [
        {
            "name": what,
            "interval": "1m",
            "input_series": given,
            # Counting the alerts that fire says more than their labels would, and does not repeat the wording.
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                    "eval_time": at,
                    "exp_samples": [{"labels": "{}", "value": 1 if name in fires else 0}],
                }
                for name in names
            ],
        }
        for what, given, at, fires in stories
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in run(program("promtool"), "test", "rules", file)


def test_alerts_say_what_to_do() -> None:
    """Each alert has a severity, a summary and a description."""
    for group in rules()["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert set(rule["annotations"]) == {"summary", "description"}
