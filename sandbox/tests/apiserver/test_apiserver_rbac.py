"""Who may do what: RBAC, reviews, tokens of service accounts, acting as somebody else."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from apiserver_kit import CONFIG_MAPS, OWN, Client, Kubectl, config_map, eventually
from cluster_kit import api_server

from canary_sandbox.apiserver import ApiServer
from canary_sandbox.apiserver.generic import GenericApiServer

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROBOT = "system:serviceaccount:OWN:robot"
ACCOUNTS = "/api/v1/namespaces/OWN/serviceaccounts"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture
async def api() -> AsyncIterator[GenericApiServer]:
    async with api_server(authorization="RBAC") as server:
        yield server


def role(name: str, *rules: dict[str, Any], kind: str = "Role", **more: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "rules": list(rules), **more}


def binding(name: str, role_name: str, *subjects: tuple[str, str], kind: str = "Role", of: str = "") -> dict[str, Any]:
    listed = [
        {"kind": kind, "name": name, **({"namespace": "OWN"} if kind == "ServiceAccount" else {})}
        for kind, name in subjects
    ]
    ref = {"apiGroup": GROUP, "kind": kind, "name": role_name}
    return {"kind": of or f"{kind}Binding", "apiVersion": f"{GROUP}/v1", "metadata": {"name": name},
            "roleRef": ref, "subjects": listed}  # fmt: skip


def rule(verbs: str, resources: str, groups: str = "", names: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"verbs": verbs.split(), "apiGroups": groups.split(",") if groups else [""],
                            "resources": resources.split()}  # fmt: skip
    return {**made, "resourceNames": names.split()} if names else made


async def grant(client: Client, *rules: dict[str, Any], to: tuple[str, str] = ("ServiceAccount", "robot")) -> None:
    """Give rules to a subject in the namespace of the test."""
    made = await client("POST", f"{RBAC}/namespaces/OWN/roles", role("given", *rules))
    assert made.code == 201, made.body
    bound = await client("POST", f"{RBAC}/namespaces/OWN/rolebindings", binding("given", "given", to))
    assert bound.code == 201, bound.body


def as_user(client: Client, user: str, *groups: str) -> dict[str, str]:
    name, *named = (word.replace(OWN, client.namespace) for word in (user, *groups))
    return {"Authorization": f"Bearer {client.api.add_token(name, named)}"}


async def test_who_has_no_role_is_refused_in_the_real_words(client: Client) -> None:
    """403 Forbidden names user, verb, resource, group and namespace; discovery is open to everybody who is known."""
    robot = as_user(client, ROBOT)
    listed = await client("GET", CONFIG_MAPS, **robot)
    assert listed.code == 403
    assert listed.body["reason"] == "Forbidden"
    assert listed.body["message"] == (
        f'configmaps is forbidden: User "{ROBOT}" cannot list resource "configmaps" in API group "" '
        'in the namespace "OWN"'
    )
    assert listed.body["details"] == {"kind": "configmaps"}
    one = await client("GET", "/apis/apps/v1/namespaces/OWN/deployments/shop/status", **robot)
    assert one.body["message"] == (
        f'deployments.apps "shop" is forbidden: User "{ROBOT}" cannot get resource "deployments/status" in API group '
        '"apps" in the namespace "OWN"'
    )
    nodes = await client("GET", "/api/v1/nodes", **robot)
    assert nodes.body["message"].endswith('resource "nodes" in API group "" at the cluster scope')
    path = await client("GET", "/metrics", **robot)
    assert path.body["message"] == f'forbidden: User "{ROBOT}" cannot get path "/metrics"'
    assert (await client("GET", "/apis", **robot)).code == 200


async def test_the_anonymous_see_health_and_nothing_else(client: Client) -> None:
    """Without a token one is system:anonymous; an unknown token is 401."""
    assert (await client("GET", "/version", Authorization="")).code == 200
    refused = await client("GET", "/apis", Authorization="")
    assert (refused.code, refused.body["message"]) == (
        403, 'forbidden: User "system:anonymous" cannot get path "/apis"',
    )  # fmt: skip
    assert (await client("GET", "/version", Authorization="Bearer nonsense")).code == 401


async def test_a_role_grants_its_verbs_and_no_others(client: Client) -> None:
    """A RoleBinding counts in its own namespace, and no longer once it is deleted."""
    robot = as_user(client, ROBOT)
    await grant(client, rule("get list", "configmaps"))
    assert (await client("GET", CONFIG_MAPS, **robot)).code == 200
    assert (await client("POST", CONFIG_MAPS, config_map("a"), **robot)).code == 403
    assert (await client("GET", "/api/v1/namespaces/kube-system/configmaps", **robot)).code == 403
    assert (await client("GET", "/api/v1/configmaps", **robot)).code == 403
    await client("DELETE", f"{RBAC}/namespaces/OWN/rolebindings/given")

    async def refused() -> bool:
        return (await client("GET", CONFIG_MAPS, **robot)).code == 403

    await eventually(refused, 20)  # a real server hears of it by a watch of its own


async def test_resource_names_and_subresources_are_their_own(client: Client) -> None:
    """A rule with names covers those names, also in a list by that name; a rule on a subresource covers only it."""
    robot = as_user(client, ROBOT)
    await client("POST", CONFIG_MAPS, config_map("a"))
    await client("POST", CONFIG_MAPS, config_map("b"))
    await grant(client, rule("get list patch", "configmaps", names="a"), rule("*", "*/status", "apps"))
    assert (await client("GET", f"{CONFIG_MAPS}/a", **robot)).code == 200
    assert (await client("GET", f"{CONFIG_MAPS}/b", **robot)).code == 403
    assert (await client("GET", CONFIG_MAPS, **robot)).code == 403
    assert (await client("GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Da", **robot)).code == 200
    deployment = "/apis/apps/v1/namespaces/OWN/deployments/x"
    assert (await client("GET", f"{deployment}/status", **robot)).code == 404
    assert (await client("GET", deployment, **robot)).code == 403


async def test_a_role_in_a_namespace_can_grant_the_namespace_itself(client: Client) -> None:
    """`get namespaces` in a Role lets one read that namespace and no other."""
    robot = as_user(client, ROBOT)
    await grant(client, rule("get", "namespaces"))
    assert (await client("GET", "/api/v1/namespaces/OWN", **robot)).code == 200
    assert (await client("GET", "/api/v1/namespaces/kube-system", **robot)).code == 403


async def test_a_binding_to_a_missing_role_says_so(client: Client) -> None:
    """The refusal names the role that is not there."""
    await client(
        "POST",
        f"{RBAC}/clusterrolebindings",
        binding("OWN-lost", "OWN-nowhere", ("Group", "OWN-dev"), kind="ClusterRole"),
    )
    refused = await client("GET", CONFIG_MAPS, **as_user(client, "alice", "OWN-dev"))
    assert refused.body["message"].endswith(
        'in the namespace "OWN": RBAC: clusterrole.rbac.authorization.k8s.io "OWN-nowhere" not found'
    )


@pytest.mark.sandbox_only("elsewhere the controller manager does it")
async def test_roles_are_not_aggregated(client: Client) -> None:
    """A ClusterRole that would be made of others is refused with the reason."""
    selectors = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    made = await client("POST", f"{RBAC}/clusterroles", role("sum", kind="ClusterRole", aggregationRule=selectors))
    assert (made.code, "does not aggregate roles" in made.body["message"]) == (422, True)


@pytest.mark.parametrize(
    ("plural", "doc", "field"),
    [
        ("roles", role("x", {"verbs": [], "apiGroups": [""], "resources": ["pods"]}), "rules[0].verbs"),
        ("roles", role("x", {"verbs": ["get"], "resources": ["pods"]}), "rules[0].apiGroups"),
        ("roles", role("x", {"verbs": ["get"], "nonResourceURLs": ["/x"]}), "rules[0].nonResourceURLs"),
        ("rolebindings", binding("x", "y", ("Robot", "z")), "subjects[0].kind"),
        ("rolebindings", binding("x", "y", kind="Rule", of="RoleBinding"), "roleRef.kind"),
    ],
)
async def test_malformed_roles_and_bindings_are_422(
    client: Client, plural: str, doc: dict[str, Any], field: str
) -> None:
    """The cause names the field."""
    answer = await client("POST", f"{RBAC}/namespaces/OWN/{plural}", doc)
    assert answer.code == 422
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [field]


async def test_a_binding_cannot_change_its_role(client: Client) -> None:
    """roleRef is immutable."""
    await grant(client, rule("get", "pods"))
    change = {"roleRef": {"name": "other"}}
    answer = await client("PATCH", f"{RBAC}/namespaces/OWN/rolebindings/given", change, patch="merge")
    assert (answer.code, "cannot change roleRef" in answer.body["message"]) == (422, True)


async def test_reviews_answer_by_the_same_rules(client: Client) -> None:
    """Reviews say yes with the binding that grants, and no without."""
    await grant(client, rule("get", "configmaps"))
    robot = as_user(client, ROBOT)

    async def allowed(path: str, spec: dict[str, Any], **headers: str) -> Any:
        answer = await client("POST", path, {"spec": spec}, **headers)
        assert answer.code == 201, answer.body
        return answer.body["status"]

    about = {"namespace": "OWN", "verb": "get", "resource": "configmaps"}
    assert await allowed(ACCESS, {"resourceAttributes": about}, **robot) == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "given/OWN" of Role "given" to ServiceAccount "robot/OWN"',
    }
    assert await allowed(ACCESS, {"resourceAttributes": {**about, "verb": "list"}}, **robot) == {"allowed": False}
    assert (await allowed(ACCESS, {"nonResourceAttributes": {"path": "/version", "verb": "get"}}, **robot))["allowed"]
    both = {"resourceAttributes": about, "nonResourceAttributes": {"path": "/x", "verb": "get"}}
    assert (await client("POST", ACCESS, {"spec": both}, **robot)).code == 422
    rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    listed = await allowed(rules, {"namespace": "OWN"}, **robot)
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]} in listed["resourceRules"]


async def test_one_may_act_as_another_by_permission(client: Client) -> None:
    """With Impersonate-User and -Group a request of the admin counts as the other's."""
    await grant(client, rule("list", "configmaps"))
    for _ in range(100):  # a real server's authorizer hears of a binding by its own watch
        if (answer := await client("GET", CONFIG_MAPS, Impersonate_User=ROBOT)).code == 200:
            break
        await asyncio.sleep(0.05)
    assert answer.code == 200, answer.body
    assert (await client("GET", CONFIG_MAPS, Impersonate_User="bob")).code == 403
    assert (await client("GET", CONFIG_MAPS, Impersonate_User="bob", Impersonate_Group="system:masters")).code == 200
    assert (await client("GET", CONFIG_MAPS, Impersonate_Group="dev")).code == 400


@pytest.mark.sandbox_only("before a real server the proxy acts as others itself")
async def test_who_may_not_act_as_another_is_refused(client: Client) -> None:
    """The sentence names whom one wanted to be."""
    refused = await client("GET", CONFIG_MAPS, **as_user(client, "alice"), Impersonate_User="bob")
    assert refused.body["message"] == (
        'users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope'
    )


async def test_a_service_account_gets_tokens(client: Client) -> None:
    """The token is a JWT with the account as `sub`; it is for one audience, cannot be forged, and ends with the account."""
    assert (await client("POST", f"{ACCOUNTS}/robot/token", {"spec": {}})).code == 404
    await client("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
    made = await client("POST", f"{ACCOUNTS}/robot/token", {"spec": {"expirationSeconds": 600}})
    assert (made.code, made.body["kind"], made.body["spec"]["expirationSeconds"]) == (201, "TokenRequest", 600)
    token = made.body["status"]["token"]
    claims = token.split(".")[1]
    subject = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
    assert subject.replace(client.namespace, OWN) == ROBOT
    bearer = {"Authorization": f"Bearer {token}"}
    who = await client("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, **bearer)
    assert who.body["status"]["userInfo"]["username"] == ROBOT
    assert "system:serviceaccounts:OWN" in who.body["status"]["userInfo"]["groups"]
    review = await client("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    assert review.body["status"]["authenticated"]
    forged = token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")
    assert (await client("GET", "/apis", Authorization=f"Bearer {forged}")).code == 401
    other = await client("POST", f"{ACCOUNTS}/robot/token", {"spec": {"audiences": ["vault"]}})
    assert (await client("GET", "/apis", Authorization=f"Bearer {other.body['status']['token']}")).code == 401
    fresh = (await client("POST", f"{ACCOUNTS}/robot/token", {})).body["status"]["token"]
    await client("DELETE", f"{ACCOUNTS}/robot")

    async def refused() -> bool:
        return (await client("GET", "/apis", Authorization=f"Bearer {fresh}")).code == 401

    await eventually(refused, 20)  # a real server remembers for ten seconds whom it has let in


@pytest.mark.sandbox_only("sets the clock")
async def test_the_token_of_a_service_account_expires() -> None:
    """It is good for as long as was asked for, and no longer."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with ApiServer(authorization="RBAC", clock=lambda: now) as api, aiohttp.ClientSession() as session:
        client = Client(api, session)
        await client("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
        made = await client("POST", f"{ACCOUNTS}/robot/token", {"spec": {"expirationSeconds": 600}})
        assert made.body["status"]["expirationTimestamp"] == "2026-01-01T00:10:00Z"
        bearer = {"Authorization": f"Bearer {made.body['status']['token']}"}
        now += timedelta(seconds=599)
        assert (await client("GET", "/apis", **bearer)).code == 200
        now += timedelta(seconds=2)
        assert (await client("GET", "/apis", **bearer)).code == 401


@pytest.mark.sandbox_only("a real server has RBAC")
async def test_without_rbac_everything_is_allowed() -> None:
    """The default lets every known user do everything, and reviews say so; nobody is anonymous."""
    async with ApiServer() as api, aiohttp.ClientSession() as session:
        client = Client(api, session)
        alice = as_user(client, "alice")
        assert (await client("POST", CONFIG_MAPS, config_map("a"), **alice)).code == 201
        body = {"spec": {"resourceAttributes": {"verb": "get", "resource": "secrets"}}}
        assert (await client("POST", ACCESS, body, **alice)).body["status"]["allowed"]
        assert (await client("GET", "/apis", Authorization="")).code == 401


async def test_kubectl_makes_roles_and_asks(kubectl: Kubectl, api: GenericApiServer, tmp_path: Path) -> None:
    """`create role|clusterrole|rolebinding|token`, `auth can-i` with --as and --list, and a user of little power."""
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps,deployments.apps/status")
    await kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=OWN:robot")
    await kubectl("create", "clusterrole", "OWN-health", "--verb=get", "--non-resource-url=/metrics")
    await kubectl("create", "clusterrolebinding", "OWN-health", "--clusterrole=OWN-health", "--group=dev")
    assert "Role/reader" in await kubectl("get", "rolebindings", "-o", "wide")
    assert "reader" in await kubectl("get", "roles")
    assert "PolicyRule" in await kubectl("describe", "role", "reader")
    assert "OWN" in await kubectl("describe", "rolebinding", "reader")
    assert await kubectl("auth", "can-i", "list", "configmaps", "--as", ROBOT) == "yes\n"
    assert "no" in await kubectl("auth", "can-i", "delete", "configmaps", "--as", ROBOT, code=1)
    assert await kubectl("auth", "can-i", "*", "*") == "yes\n"
    assert "configmaps" in await kubectl("auth", "can-i", "--list", "--as", ROBOT)
    token = (await kubectl("create", "token", "robot", "--duration=20m")).strip()
    config = api.kubeconfig(tmp_path / "robot", user="robot", token=token, namespace=kubectl.namespace)
    robot = Kubectl(config, tmp_path, kubectl.namespace)
    assert ROBOT in await robot("auth", "whoami")
    assert not await robot("get", "configmaps", "-o", "name")
    refused = await robot("get", "secrets", code=1)
    assert f'secrets is forbidden: User "{ROBOT}" cannot list resource "secrets"' in refused
    assert await robot("auth", "can-i", "list", "configmaps") == "yes\n"
    late = role("late", rule("get", "pods"))
    late["metadata"]["namespace"] = "OWN"
    await kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps(late))
    assert "pods" in await kubectl("get", "role", "late", "-o", "yaml")
