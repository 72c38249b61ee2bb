from __future__ import annotations

import asyncio
import base64
import ipaddress
from typing import Any

import pytest
from apiserver_kit import CONFIG_MAPS, CRDS, ROUTES, WIDGETS, Client, config_map, definition, eventually, route, widget

from canary.errors import SandboxError
from canary_sandbox.apiserver import ApiServer

DEPLOYMENTS = "/apis/apps/v1/namespaces/OWN/deployments"


def deployment(image: str = "shop:1", **meta: Any) -> dict[str, Any]:
    labels = {"app": "shop"}
    pod = {"containers": [{"name": "shop", "image": image, "env": [{"name": "A", "value": "1"}]}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", **meta},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


async def test_a_request_without_a_known_token_is_401(client: Client) -> None:
    """Neither no token nor a wrong one gets in; health and version are public."""
    for header in ("", "Bearer wrong", "Basic YTpi"):
        answer = await client("GET", "/api/v1/namespaces", Authorization=header)
        assert (answer.code, answer.body["reason"]) == (401, "Unauthorized")
    assert (await client("GET", "/as/wrong/api/v1/namespaces", Authorization="")).code == 401
    assert (await client("GET", f"/as/{client.api.token}/api/v1/namespaces", Authorization="")).code == 200
    assert (await client("GET", "/readyz", Authorization="")).body == "ok"


async def test_added_tokens_are_their_user_in_the_audit(client: Client) -> None:
    """A token for a service account acts, and is recorded, as that account."""
    token = client.api.add_token("system:serviceaccount:canary:controller")
    await client("GET", f"{CONFIG_MAPS}/nothing", Authorization=f"Bearer {token}")
    entry = client.api.audit[-1]
    assert (entry.user, entry.verb, entry.resource, entry.namespace, entry.name, entry.code) == (
        "system:serviceaccount:canary:controller", "get", "configmaps", client.namespace, "nothing", 404,
    )  # fmt: skip
    assert entry.user_agent == "test/1"


async def test_one_counter_versions_everything(client: Client) -> None:
    """A later write of whatever resource has a higher resourceVersion; a write that changes nothing takes none."""
    first = (await client("POST", CONFIG_MAPS, config_map("a", x="1"))).body
    second = (await client("POST", DEPLOYMENTS, deployment())).body
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    again = await client("PUT", f"{CONFIG_MAPS}/a", first)
    assert again.body["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_create_answers_as_a_real_server(client: Client) -> None:
    """Duplicates conflict, unknown namespaces are not found, bad names are invalid with a cause, generateName works."""
    created = await client("POST", CONFIG_MAPS, config_map("a"))
    assert created.code == 201
    assert {"uid", "creationTimestamp", "resourceVersion"} <= created.body["metadata"].keys()
    duplicate = await client("POST", CONFIG_MAPS, config_map("a"))
    assert (duplicate.code, duplicate.body["reason"]) == (409, "AlreadyExists")
    assert duplicate.body["message"] == 'configmaps "a" already exists'
    nowhere = await client("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert (nowhere.code, nowhere.body["message"]) == (404, 'namespaces "nowhere" not found')
    bad = await client("POST", CONFIG_MAPS, config_map("Not_A_Name"))
    assert (bad.code, bad.body["reason"]) == (422, "Invalid")
    assert bad.body["details"]["causes"][0]["field"] == "metadata.name"
    nameless = config_map("")
    nameless["metadata"] = {"generateName": "job-"}
    generated = (await client("POST", CONFIG_MAPS, nameless)).body["metadata"]["name"]
    assert generated.startswith("job-")
    assert len(generated) == 9


async def test_dry_run_leaves_no_trace(client: Client) -> None:
    """dryRun=All validates, answers and stores nothing."""
    before = await client.names(CONFIG_MAPS)
    assert (await client("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a"))).code == 201
    assert (await client("GET", f"{CONFIG_MAPS}/a")).code == 404
    assert (await client("POST", f"{CONFIG_MAPS}?dryRun=Some", config_map("a"))).code == 422
    assert await client.names(CONFIG_MAPS) == before


@pytest.mark.usefixtures("routes")
async def test_a_stale_resource_version_conflicts(client: Client) -> None:
    """A PUT or a patch that carries an old resourceVersion is 409; a custom resource must carry one on PUT."""
    old = (await client("POST", ROUTES, route())).body
    fresh = (await client("PATCH", f"{ROUTES}/shop", {"metadata": {"labels": {"a": "b"}}}, patch="merge")).body
    stale = await client("PUT", f"{ROUTES}/shop", old)
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.body["message"]
    version = old["metadata"]["resourceVersion"]
    assert (
        await client("PATCH", f"{ROUTES}/shop", {"metadata": {"resourceVersion": version}}, patch="merge")
    ).code == 409
    del fresh["metadata"]["resourceVersion"]
    without = await client("PUT", f"{ROUTES}/shop", fresh)
    assert without.code == 422
    assert without.body["details"]["causes"][0]["message"].endswith("must be specified for an update")


@pytest.mark.usefixtures("routes")
async def test_generation_counts_changes_of_the_desired_state(client: Client) -> None:
    """Labels and status leave the generation alone, the spec moves it; each endpoint ignores what is the other's."""
    made = (await client("POST", ROUTES, {**route(), "status": {"parents": []}})).body
    assert made["metadata"]["generation"] == 1
    assert "status" not in made
    labelled = (await client("PATCH", f"{ROUTES}/shop", {"metadata": {"labels": {"a": "b"}}}, patch="merge")).body
    assert labelled["metadata"]["generation"] == 1
    status = {"status": {"parents": []}, "spec": {"hostnames": ["x.example"]}, "metadata": {"labels": {"a": "c"}}}
    reported = (await client("PATCH", f"{ROUTES}/shop/status", status, patch="merge")).body
    assert reported["status"] == {"parents": []}
    assert "hostnames" not in reported["spec"]
    assert reported["metadata"]["labels"] == {"a": "b"}
    assert reported["metadata"]["generation"] == 1
    weights = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 50}]
    moved = (await client("PATCH", f"{ROUTES}/shop", weights, patch="json")).body
    assert moved["metadata"]["generation"] == 2
    assert moved["status"] == {"parents": []}


async def test_builtin_deployments_count_generations_too(client: Client) -> None:
    """A new image is a new generation; status through the subresource is not."""
    assert (await client("POST", DEPLOYMENTS, deployment())).body["metadata"]["generation"] == 1
    status = await client(
        "PATCH", f"{DEPLOYMENTS}/shop/status", {"status": {"replicas": 1, "readyReplicas": 1}}, patch="merge"
    )
    assert (status.body["status"], status.body["metadata"]["generation"]) == ({"replicas": 1, "readyReplicas": 1}, 1)
    none = await client("PATCH", f"{DEPLOYMENTS}/shop/status", {"status": {"availableReplicas": 0}}, patch="merge")
    assert none.body["status"] == {"replicas": 1, "readyReplicas": 1}, "a count of zero is none"
    more = await client("PATCH", f"{DEPLOYMENTS}/shop/status", {"status": {"readyReplicas": 2}}, patch="merge")
    assert (more.code, more.body["details"]["causes"][0]["field"]) == (422, "status.readyReplicas")
    image = {"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": "shop:2"}]}}}}
    changed = (await client("PATCH", f"{DEPLOYMENTS}/shop", image, patch="strategic-merge")).body
    container = changed["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"][0]["name"], changed["metadata"]["generation"]) == ("shop:2", "A", 2)
    scaled = await client("PATCH", f"{DEPLOYMENTS}/shop/scale", {"spec": {"replicas": 4}}, patch="merge")
    assert (scaled.body["kind"], scaled.body["spec"]["replicas"]) == ("Scale", 4)
    assert (await client("GET", f"{DEPLOYMENTS}/shop")).body["spec"]["replicas"] == 4


async def test_sets_of_pods_are_kept_and_nothing_runs_them(client: Client) -> None:
    """StatefulSets and DaemonSets: generations, statuses as their controllers write them, and what has a scale subresource."""
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    said: dict[str, dict[str, Any]] = {
        "StatefulSet": {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "b", **counts},
        "DaemonSet": {
            **dict.fromkeys(("currentNumberScheduled", "desiredNumberScheduled", "updatedNumberScheduled"), 2),
            "observedGeneration": 1,
            "numberReady": 2,
            "numberMisscheduled": 0,
        },
    }
    for kind, status in said.items():
        path = f"/apis/apps/v1/namespaces/OWN/{kind.lower()}s"
        made = await client("POST", path, {**deployment(), "kind": kind})
        assert (made.code, made.body["metadata"]["generation"]) == (201, 1), made.body
        assert made.body["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        told = await client("PATCH", f"{path}/shop/status", {"status": status}, patch="merge")
        assert status.items() <= told.body["status"].items(), told.body
        assert told.body["metadata"]["generation"] == 1
        image = {"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": "shop:2"}]}}}}
        changed = (await client("PATCH", f"{path}/shop", image, patch="strategic-merge")).body
        assert changed["metadata"]["generation"] == 2
        wrong = await client("PATCH", f"{path}/shop", {"spec": {"updateStrategy": {"type": "Recreate"}}}, patch="merge")
        assert wrong.code == 422
        scaled = await client("PATCH", f"{path}/shop/scale", {"spec": {"replicas": 4}}, patch="merge")
        assert scaled.code == (200 if kind == "StatefulSet" else 404)


async def test_an_environment_variable_keeps_no_empty_value(client: Client) -> None:
    """Said as "" or not said is the same, and a list without any variable is none."""
    doc = deployment()
    (container,) = doc["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "A", "value": ""}, {"name": "B", "value": "b"}, {"name": "C"}]
    (made,) = (await client("POST", DEPLOYMENTS, doc)).body["spec"]["template"]["spec"]["containers"]
    assert made["env"] == [{"name": "A"}, {"name": "B", "value": "b"}, {"name": "C"}]
    container["env"] = []
    (changed,) = (await client("PUT", f"{DEPLOYMENTS}/shop", doc)).body["spec"]["template"]["spec"]["containers"]
    assert "env" not in changed


async def test_a_deployment_that_cannot_select_its_pods_is_invalid(client: Client) -> None:
    """The selector must match the template, and never changes."""
    wrong = deployment()
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    answer = await client("POST", DEPLOYMENTS, wrong)
    assert "`selector` does not match template `labels`" in answer.body["message"]
    await client("POST", DEPLOYMENTS, deployment())
    change = {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}}
    assert "field is immutable" in (await client("PATCH", f"{DEPLOYMENTS}/shop", change, patch="merge")).body["message"]


async def test_services_get_a_cluster_ip_that_stays(client: Client) -> None:
    """ClusterIPs come from the loopback range, differ, and cannot be changed; a Service needs ports."""
    path = "/api/v1/namespaces/OWN/services"
    service: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}
    first = (await client("POST", path, service)).body
    service["metadata"]["name"] = "b"
    second = (await client("POST", path, service)).body
    assert ipaddress.ip_address(first["spec"]["clusterIP"]).is_loopback
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert first["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    elsewhere = str(ipaddress.ip_address(second["spec"]["clusterIP"]) + 2)
    moved = await client("PATCH", f"{path}/a", {"spec": {"clusterIP": elsewhere}}, patch="merge")
    assert (moved.code, moved.body["details"]["causes"][0]["field"]) == (422, "spec.clusterIPs[0]")
    # One that somebody chose is not handed out a second time, until it is free again.
    following = str(ipaddress.ip_address(second["spec"]["clusterIP"]) + 1)
    chosen = {"metadata": {"name": "chosen"}, "spec": {"ports": [{"port": 80}], "clusterIP": following}}
    assert (await client("POST", path, chosen)).body["spec"]["clusterIP"] == following
    service["metadata"]["name"] = "d"
    assert (await client("POST", path, service)).body["spec"]["clusterIP"] not in {
        following, first["spec"]["clusterIP"], second["spec"]["clusterIP"],
    }  # fmt: skip
    portless = await client("POST", path, {"metadata": {"name": "c"}, "spec": {}})
    assert portless.body["details"]["causes"][0] == {
        "reason": "FieldValueRequired", "message": "Required value", "field": "spec.ports",
    }  # fmt: skip


async def test_finalizers_hold_a_deletion_until_they_are_gone(client: Client) -> None:
    """DELETE only marks; no finalizer can be added then; removing the last one removes the object."""
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await client("POST", CONFIG_MAPS, held)
    marked = await client("DELETE", f"{CONFIG_MAPS}/a")
    assert marked.body["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    refused = await client("PATCH", f"{CONFIG_MAPS}/a", more, patch="merge")
    assert refused.code == 422
    assert "no new finalizers can be added" in refused.body["message"]
    assert (await client("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}}, patch="merge")).code == 200
    assert (await client("GET", f"{CONFIG_MAPS}/a")).code == 404


async def test_delete_keeps_its_preconditions(client: Client) -> None:
    """A wrong uid or resourceVersion is 409 and deletes nothing."""
    made = (await client("POST", CONFIG_MAPS, config_map("a"))).body["metadata"]
    for precondition in ({"uid": "other"}, {"resourceVersion": "1"}):
        assert (await client("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": precondition})).code == 409
    right = {"preconditions": {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}}
    gone = await client("DELETE", f"{CONFIG_MAPS}/a", right)
    assert (gone.body["kind"], gone.body["status"], gone.body["details"]["uid"]) == ("Status", "Success", made["uid"])


def owned(name: str, owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    child = config_map(name)
    meta = owner["metadata"]
    child["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"], **more}
    ]
    return child


async def empty(client: Client) -> bool:
    """Whether no ConfigMap is left."""
    return not await client.names(CONFIG_MAPS)


@pytest.mark.sandbox_only("what owns and is owned is collected by the controller manager, beside a real server")
async def test_dependents_follow_their_owner(client: Client) -> None:
    """Children and grandchildren go with it, in the background; a deletion in the foreground is not waited for."""
    owner = (await client("POST", CONFIG_MAPS, config_map("owner"))).body
    child = (await client("POST", CONFIG_MAPS, owned("child", owner))).body
    await client("POST", CONFIG_MAPS, owned("grandchild", child))
    await client("DELETE", f"{CONFIG_MAPS}/owner")
    await eventually(lambda: empty(client))
    owner = (await client("POST", CONFIG_MAPS, config_map("owner"))).body
    await client("POST", CONFIG_MAPS, owned("child", owner))
    assert (await client("DELETE", f"{CONFIG_MAPS}/owner?propagationPolicy=Foreground")).code == 200
    await eventually(lambda: empty(client))


@pytest.mark.sandbox_only("namespaces are emptied by the controller manager, beside a real server")
async def test_a_deleted_namespace_takes_its_content_along(client: Client) -> None:
    """While content is held the namespace is Terminating and takes nothing new; afterwards it is gone."""
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "OWN-team"}})
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    inside = "/api/v1/namespaces/OWN-team/configmaps"
    await client("POST", inside, held)
    assert (await client("DELETE", "/api/v1/namespaces/OWN-team")).body["status"]["phase"] == "Terminating"
    late = await client("POST", inside, config_map("late"))
    assert (late.code, late.body["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    await client("PATCH", f"{inside}/held", {"metadata": {"finalizers": None}}, patch="merge")

    async def gone() -> bool:
        return (await client("GET", "/api/v1/namespaces/OWN-team")).code == 404

    await eventually(gone)


@pytest.mark.usefixtures("routes")
async def test_managed_fields_say_who_last_wrote(client: Client) -> None:
    """Each manager owns what it wrote last; what another one overwrites changes hands."""
    await client("POST", f"{ROUTES}?fieldManager=gitops", route())
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 50},
             {"op": "add", "path": "/metadata/annotations", "value": {"canary.dev/run": "1"}}]  # fmt: skip
    await client("PATCH", f"{ROUTES}/shop?fieldManager=canary", patch, patch="json")
    body = (await client("PATCH", f"{ROUTES}/shop/status", {"status": {"parents": []}}, patch="merge")).body
    entries = {entry["manager"]: entry for entry in body["metadata"]["managedFields"]}
    assert "f:rules" in entries["canary"]["fieldsV1"]["f:spec"]
    assert "f:canary.dev/run" in entries["canary"]["fieldsV1"]["f:metadata"]["f:annotations"]
    assert "f:rules" not in entries["gitops"]["fieldsV1"]["f:spec"]
    assert "f:parentRefs" in entries["gitops"]["fieldsV1"]["f:spec"]
    assert entries["test"]["subresource"] == "status"


async def test_list_selects_by_labels_and_fields(client: Client) -> None:
    """All forms of label requirements, and the fields that a resource knows; others are refused."""
    for name, labels in (("a", {"tier": "web", "v": "1"}), ("b", {"tier": "db"}), ("c", {})):
        doc = config_map(name)
        doc["metadata"]["labels"] = labels
        await client("POST", CONFIG_MAPS, doc)

    async def names(query: str) -> str:
        answer = await client("GET", f"{CONFIG_MAPS}?{query}")
        return "".join(item["metadata"]["name"] for item in answer.body["items"])

    assert await names("labelSelector=tier%3Dweb") == "a"
    assert await names("labelSelector=tier!%3Dweb") == "bc"
    assert await names("labelSelector=tier%20in%20(web,db),v") == "a"
    assert await names("labelSelector=tier%20notin%20(db)") == "ac"
    assert await names("labelSelector=!tier") == "c"
    assert await names("fieldSelector=metadata.name%3Db") == "b"
    assert (await client("GET", f"{CONFIG_MAPS}?fieldSelector=data.x%3D1")).code == 400
    assert (await client("GET", f"{CONFIG_MAPS}?labelSelector=a%3D%3D%3Db")).code == 400


async def test_a_limited_list_continues_where_it_was(client: Client) -> None:
    """Pages are of one revision, whatever is written in between."""
    for name in "abcde":
        await client("POST", CONFIG_MAPS, config_map(name))
    page = (await client("GET", f"{CONFIG_MAPS}?limit=2")).body
    assert page["metadata"]["remainingItemCount"] == 3
    await client("DELETE", f"{CONFIG_MAPS}/d")
    await client("POST", CONFIG_MAPS, config_map("cc"))
    token = page["metadata"]["continue"]
    rest = (await client("GET", f"{CONFIG_MAPS}?limit=10&continue={token}")).body
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d", "e"]
    assert rest["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]


async def test_a_list_can_ask_for_a_revision(client: Client) -> None:
    """Exact goes back in time; a revision that is still to come is a 504 that says so."""
    first = (await client("POST", CONFIG_MAPS, config_map("a"))).body["metadata"]["resourceVersion"]
    await client("POST", CONFIG_MAPS, config_map("b"))
    then = (await client("GET", f"{CONFIG_MAPS}?resourceVersion={first}&resourceVersionMatch=Exact")).body
    assert [item["metadata"]["name"] for item in then["items"]] == ["a"]
    future = await client("GET", f"{CONFIG_MAPS}?resourceVersion=999999999999")
    assert future.code == 504
    assert future.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_secrets_and_events_are_as_builtin_kinds_are(client: Client) -> None:
    """stringData becomes data; events are selectable by what they are about."""
    secret = {"metadata": {"name": "s"}, "stringData": {"a": "b"}}
    made = (await client("POST", "/api/v1/namespaces/OWN/secrets", secret)).body
    assert base64.b64decode(made["data"]["a"]) == b"b"
    events = "/api/v1/namespaces/OWN/events"
    for name in "ab":
        about = {"kind": "HTTPRoute", "name": name, "namespace": "OWN"}
        await client("POST", events, {"metadata": {"name": name}, "involvedObject": about, "reason": "Test"})
    found = await client("GET", f"{events}?fieldSelector=involvedObject.name%3Da,involvedObject.kind%3DHTTPRoute")
    assert [item["metadata"]["name"] for item in found.body["items"]] == ["a"]


async def test_what_a_deployment_of_ours_brings_along_is_served(client: Client) -> None:
    """PodDisruptionBudgets and NetworkPolicies are kept and defaulted; nothing acts on them here."""
    budgets = "/apis/policy/v1/namespaces/OWN/poddisruptionbudgets"
    spec = {"selector": {"matchLabels": {"app": "canary"}}, "minAvailable": 1}
    assert (await client("POST", budgets, {"metadata": {"name": "a"}, "spec": spec})).code == 201
    policies = "/apis/networking.k8s.io/v1/namespaces/OWN/networkpolicies"
    allowed = {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443}]}]}
    made = await client("POST", policies, {"metadata": {"name": "a"}, "spec": allowed})
    assert made.body["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert made.body["spec"]["egress"][0]["ports"] == [{"port": 443, "protocol": "TCP"}]


async def test_autoscalers_are_kept_and_nothing_scales_here(client: Client) -> None:
    """They name what they target, which is all that others want to know of them."""
    scalers = "/apis/autoscaling/v2/namespaces/OWN/horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    spec = {"scaleTargetRef": target, "maxReplicas": 5}
    made = await client("POST", scalers, {"metadata": {"name": "shop"}, "spec": spec})
    assert (made.code, made.body["spec"]["scaleTargetRef"], made.body["spec"]["minReplicas"]) == (201, target, 1)


async def test_what_is_not_there_is_refused_loudly(client: Client) -> None:
    """Unknown resources are 404 (in text where not even the group is known), wrong methods 405, wrong media 415."""
    unknown = await client("GET", "/apis/nobody.example/v1/things")
    assert (unknown.code, unknown.body) == (404, "404 page not found\n")
    missing = await client("GET", "/apis/apps/v1/namespaces/OWN/things")
    assert (missing.code, missing.body["message"]) == (404, "the server could not find the requested resource")
    assert (await client("POST", f"{CONFIG_MAPS}/a", config_map("a"))).code == 405
    assert (await client("POST", CONFIG_MAPS, "x", Content_Type="text/plain")).code == 415


@pytest.mark.sandbox_only("a real server does these")
async def test_what_is_not_done_here_is_501(client: Client) -> None:
    """The sentence says what it is that this server does not do."""
    scale = "/apis/apps/v1/namespaces/OWN/deployments/a/scale?fieldManager=x"
    apply = await client("PATCH", scale, "spec: {}", Content_Type="application/apply-patch+yaml")
    assert apply.code == 501
    assert "server-side apply" in apply.body["message"]
    left = await client("DELETE", f"{CONFIG_MAPS}/a", {"propagationPolicy": "Orphan"})
    assert (left.code, "Orphan" in left.body["message"]) == (501, True)
    assert (await client("GET", "/api/v1/namespaces/OWN/pods/a/log")).code == 501


async def test_a_collection_is_deleted_by_selector(client: Client) -> None:
    """Only what the selector takes goes."""
    for name in "ab":
        doc = config_map(name)
        doc["metadata"]["labels"] = {"name": name}
        await client("POST", CONFIG_MAPS, doc)
    await client("DELETE", f"{CONFIG_MAPS}?labelSelector=name%3Da")
    left = (await client("GET", CONFIG_MAPS)).body["items"]
    assert [item["metadata"]["name"] for item in left] == ["b"]


async def test_a_definition_serves_its_resource_at_once_and_cleans_up(client: Client) -> None:
    """The answer to the POST comes after the endpoint works; deleting the definition deletes its objects."""
    await client.define(definition({"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
    assert (await client("POST", WIDGETS, widget(a=1))).code == 201
    status = (await client("GET", f"{CRDS}/widgets.OWN.example.com")).body["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"NamesAccepted": "True", "Established": "True"}
    assert status["acceptedNames"]["singular"] == "widget"
    await client("DELETE", f"{CRDS}/widgets.OWN.example.com")

    async def gone() -> bool:
        return (await client("GET", WIDGETS)).code == 404

    await eventually(gone)


async def test_two_clients_race_and_one_loses(client: Client) -> None:
    """Of two updates that read the same version exactly one is written."""
    made = (await client("POST", CONFIG_MAPS, config_map("a"))).body
    answers = await asyncio.gather(
        *(client("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"by": str(who)}}) for who in range(5))
    )
    assert sorted(answer.code for answer in answers) == [200, 409, 409, 409, 409]


@pytest.mark.sandbox_only("starts and stops it")
async def test_a_stopped_server_lets_go_of_its_port() -> None:
    """Starting on a taken port says so; after a stop the port is free."""
    async with ApiServer() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(SandboxError, match="cannot listen"):
            await ApiServer(port=port).__aenter__()
    async with ApiServer(port=port) as again:
        assert again.url.endswith(str(port))
