"""The Secrets that checks, gates and targets name: what `lint --live` and `doctor` say of them, and what they never say."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import canary
from cluster_kit import api_server, install_all, own_namespace
from scripted_kube import ScriptedKube

from canary.cli.health import Level
from canary.cli.named_secrets import MOST, Named, Objection, objections, of_rollout, of_target, of_template
from canary.errors import Forbidden, Unavailable
from canary.kube import NAMESPACES, ROLLOUTS, SECRETS, SERVICEACCOUNTS, KubeClient

Json = dict[str, Any]

NS, OWN = "team-shop", "canary-system"
ACCOUNT = (OWN, "canary-controller")
REVIEWS = "subjectaccessreviews"
VALUE = "of-the-team-0123456789"
AUTH = {"secretRef": {"name": "prometheus"}}
PROMETHEUS = {"query": "up", "address": "https://prometheus.example.com", "auth": AUTH}
CHECK = {"name": "errors", "prometheus": PROMETHEUS, "threshold": {"max": 1}}


def spec(*checks: Json, steps: list[Json] | None = None, **more: Any) -> Json:
    return {
        "routes": [{"name": "shop"}],
        "stable": {"service": "shop-stable", "port": 80},
        "canary": {"service": "shop-canary", "port": 80},
        "steps": steps or [{"weight": 10, "hold": "1m"}],
        "checks": list(checks),
        **more,
    }


def named(*checks: Json, template: Json | None = None, **more: Any) -> list[Named]:
    document = None if template is None else {"spec": template}
    return list(of_rollout("Rollout team-shop/shop", NS, spec(*checks, **more), lambda _: document))


def test_everything_that_names_one_is_found_with_its_place_and_whom_it_asks() -> None:
    """Checks of every source, what a template asks, the traffic, gates, and both kinds of target."""
    compare = {"requests": "up", "failures": "up", "auth": AUTH}
    source = {"prometheus": {"query": "up", "auth": AUTH}, "threshold": {"max": 1}}
    gate = {"http": {"url": "https://deploys.example.com/may-i?x={{ canary.service }}", "auth": AUTH}}
    cloudwatch = {"region": "eu-west-1", "expression": "SELECT 1", "auth": AUTH}
    found = named(
        CHECK,
        {"name": "plain", "prometheus": {"query": "up"}, "threshold": {"max": 1}},
        {"name": "compare", "compare": {"prometheus": compare}},
        {"name": "aws", "cloudwatch": cloudwatch, "threshold": {"max": 1}},
        {"template": {"name": "ours"}},
        {"name": "theirs", "template": {"name": "theirs", "kind": "ClusterCheckTemplate"}},
        template=source,
        steps=[{"weight": 10, "hold": "1m"}, {"gate": gate}],
        traffic={"prometheus": PROMETHEUS},
    )
    assert [(".".join(map(str, one.path)), one.namespace, one.address) for one in found] == [
        ("spec.checks.0", NS, "https://prometheus.example.com:443"),
        ("spec.checks.2", NS, None),
        ("spec.checks.3", NS, "https://monitoring.eu-west-1.amazonaws.com:443"),
        ("spec.checks.4", NS, None),
        ("spec.checks.5", "", None),
        ("spec.traffic", NS, "https://prometheus.example.com:443"),
        ("spec.steps.1.gate.http", NS, "https://deploys.example.com:443"),
    ]
    assert named({"template": {"name": "missing"}}) == []
    assert list(of_rollout("a", NS, {"routes": 3}, lambda _: None)) == []
    under = {"prometheus": PROMETHEUS, "threshold": {"max": 1}}
    templates = [*of_template("a", NS, under), *of_template("b", "", {"traffic": {"prometheus": PROMETHEUS}})]
    assert [(one.name, one.namespace) for one in templates] == [("prometheus", NS), ("prometheus", "")]
    http = {"url": "https://hooks.example.com/x", "auth": AUTH, "signing": {"secretRef": {"name": "signing"}}}
    both = [*of_target("a", NS, {"http": http}), *of_target("b", "", {"apprise": {"secretRef": {"name": "chat"}}})]
    assert [(one.name, one.namespace, one.key, one.address) for one in both] == [
        ("prometheus", NS, "", "https://hooks.example.com:443/x"),
        ("signing", NS, "signing", "https://hooks.example.com:443/x"),
        ("chat", "", "url", None),
    ]


def kube_with(hosts: str | None = "prometheus.example.com", namespace: str = NS, **data: str) -> ScriptedKube:
    kube = ScriptedKube()
    kube.put(SERVICEACCOUNTS, {"metadata": {"name": ACCOUNT[1], "namespace": OWN}})
    annotations = {} if hosts is None else {"canary.dev/hosts": hosts}
    metadata = {"name": "prometheus", "namespace": namespace, "annotations": annotations}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in (data or {"token": VALUE}).items()}
    kube.put(SECRETS, {"metadata": metadata, "data": encoded})
    kube.script("create", REVIEWS, times=None, answer={"status": {"allowed": True}})
    return kube


async def told(kube: ScriptedKube, *those: Named) -> list[Objection]:
    found = await objections(kube, those, ACCOUNT)
    assert VALUE not in repr(found)
    return found


async def test_one_that_has_what_is_needed_is_no_matter() -> None:
    """The controller is asked about by name, for the one Secret."""
    kube = kube_with()
    assert await told(kube, *named(CHECK)) == []
    (review,) = [one.body["spec"] for one in kube.asked if one.plural == REVIEWS]
    assert review["user"] == "system:serviceaccount:canary-system:canary-controller"
    wanted = {"verb": "get", "resource": "secrets", "namespace": NS, "name": "prometheus"}
    assert review["resourceAttributes"] == wanted


@pytest.mark.parametrize(
    ("kube", "words"),
    [
        (kube_with(hosts=None), "is not for prometheus.example.com:443: its annotation canary.dev/hosts is missing"),
        (kube_with(hosts="other.example.com"), "its annotation canary.dev/hosts names other.example.com"),
        (kube_with(hosts="a b:x"), "cannot be read"),
        (kube_with(password=VALUE), "one of username and password"),
        (kube_with(tokn=VALUE), "none of the keys that count"),
        (kube_with(token=f"{VALUE}\n{VALUE}"), "it must hold the token and nothing else"),
        (kube_with(namespace="elsewhere"), "there is no Secret prometheus in namespace team-shop"),
    ],
)
async def test_what_is_wrong_with_one_is_told(kube: ScriptedKube, words: str) -> None:
    """In the words of the controller, which would find the same."""
    (found,) = await told(kube, *named(CHECK))
    assert (found.level, words in found.words) == (Level.BROKEN, True), found


async def test_without_an_address_it_has_to_be_for_somebody() -> None:
    """Who is asked is the controller's own Prometheus then, which is not known here."""
    check = {**CHECK, "prometheus": {"query": "up", "auth": AUTH}}
    assert await told(kube_with(), *named(check)) == []
    (found,) = await told(kube_with(hosts=None), *named(check))
    assert "is for nobody: its annotation canary.dev/hosts is missing" in found.words


@pytest.mark.parametrize(
    ("data", "hosts", "words"),
    [
        ({"url": f"slack://{VALUE}"}, "hooks.slack.com", ""),
        ({"url": f"slack://{VALUE}"}, None, "is for nobody"),
        ({"address": f"slack://{VALUE}"}, "hooks.slack.com", "has no key url"),
    ],
)
async def test_targets_name_a_key(data: dict[str, str], hosts: str | None, words: str) -> None:
    target = of_target("NotificationTarget team-shop/chat", NS, {"apprise": {"secretRef": {"name": "prometheus"}}})
    found = await told(kube_with(hosts, **data), *target)
    assert (len(found), words in (found[0].words if found else "")) == (1 if words else 0, True), found


async def test_what_nobody_could_tell_is_a_doubt_and_says_so() -> None:
    """What may not be read by who asks, who the controller is, and what the API server does not tell."""
    kube = kube_with()
    kube.script("get", "secrets", error=Forbidden("no", status=403))
    (found,) = await told(kube, *named(CHECK))
    assert (found.level, "you may not read Secret prometheus" in found.words) == (Level.DOUBT, True)

    for verb, plural, error, words in (
        ("get", "serviceaccounts", Forbidden("no", status=403), "cannot be read (Forbidden)"),
        ("create", REVIEWS, Forbidden("no", status=403), "you may not create subjectaccessreviews"),
        ("create", REVIEWS, Unavailable("no"), "does not tell (Unavailable)"),
    ):
        kube = kube_with()
        kube._turns.clear()
        kube.script(verb, plural, error=error)
        (found,) = await told(kube, *named(CHECK))
        assert (found.level, found.named) == (Level.DOUBT, None)
        assert "nobody checked whether the controller may read" in found.words
        assert words in found.words
    (found,) = await objections(kube_with(), named(CHECK), ("elsewhere", "canary"))
    assert "there is no ServiceAccount elsewhere/canary; name the controller's by --controller" in found.words


async def test_a_controller_that_may_not_read_it_is_told_with_the_component() -> None:
    """Its own namespace has another one."""
    kube = kube_with()
    kube._turns.clear()
    kube.script("create", REVIEWS, times=None, answer={"status": {"allowed": False}})
    (found,) = await told(kube, *named(CHECK))
    assert found.level is Level.BROKEN
    assert "the controller (canary-system/canary-controller) may not read Secret prometheus" in found.words
    assert "component secrets (Helm: rbac.secrets.namespaces)" in found.words


async def test_thousands_of_rollouts_with_one_secret_are_two_requests_and_many_secrets_are_bounded() -> None:
    kube = kube_with()
    assert await told(kube, *named(CHECK) * 1000) == []
    assert len([one for one in kube.asked if one.plural == "secrets"]) == 1
    kube = kube_with()
    many = [Named("a", (), f"secret-{number}", NS, key="url") for number in range(MOST + 5)]
    assert "5 more Secrets were not looked at" in [one.words for one in await told(kube, *many)]
    assert len([one for one in kube.asked if one.plural == "secrets"]) == MOST


async def test_lint_and_doctor_say_so(tmp_path: Path) -> None:
    """A file before it is applied, at the line that names the Secret, and the Rollout of the cluster; with no value of it."""
    place = own_namespace(NS)
    async with api_server() as api:
        await install_all(api)
        config = str(api.kubeconfig(tmp_path / "config", namespace=place))
        async with await KubeClient.connect(kubeconfig=config) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}})
            data = {"token": base64.b64encode(VALUE.encode()).decode()}
            metadata = {"name": "prometheus", "namespace": place}
            await kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
            document = {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}}
            document["spec"] = spec(CHECK)
            file = tmp_path / "rollout.yaml"
            file.write_text(yaml.safe_dump(document))
            linted = await canary("lint", "--live", str(file), "-n", place, "-o", "json", KUBECONFIG=config)
            template = {"apiVersion": "canary.dev/v1alpha1", "kind": "CheckTemplate", "metadata": {"name": "errors"}}
            template["spec"] = {"prometheus": PROMETHEUS, "threshold": {"max": 1}}
            of_it = {**document, "spec": spec({"template": {"name": "errors"}})}
            (tmp_path / "template.yaml").write_text(yaml.safe_dump_all([of_it, template]))
            by_template = await canary(
                "lint", "--live", str(tmp_path / "template.yaml"), "-n", place, "-o", "json", KUBECONFIG=config
            )
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus"}, "stringData": {}}
            (tmp_path / "both.yaml").write_text(yaml.safe_dump_all([document, secret]))
            both = await canary("lint", "--live", str(tmp_path / "both.yaml"), "-n", place, KUBECONFIG=config)
            await kube.create(ROLLOUTS, {**document, "metadata": {"name": "shop", "namespace": place}})
        looked = await canary("doctor", "-n", place, "-o", "json", KUBECONFIG=config)
    (said,) = [one for one in json.loads(linted.out)["findings"] if "canary.dev/hosts" in one["message"]]
    assert (said["severity"], said["field"]) == ("error", "spec.checks[0]")
    assert said["line"] > 0
    (once,) = [one for one in json.loads(by_template.out)["findings"] if "canary.dev/hosts" in one["message"]]
    assert "CheckTemplate" in json.dumps(once), "told where it is named"
    assert "canary.dev/hosts" not in both.out, "it is about to be applied too"
    found = {(one["name"], one["level"]): one["message"] for one in json.loads(looked.out)["checks"]}
    assert "spec.checks[0]: Secret prometheus" in found[f"Rollout {place}/shop", "broken"]
    assert "there is no ServiceAccount canary-system/canary-controller" in found["Secrets", "doubt"]
    for ran in (linted, both, looked):
        assert VALUE not in ran.out + ran.err
