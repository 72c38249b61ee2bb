"""What the API server says of rights, asked as the controller and the CLI ask it: on a real one where there is one."""

from __future__ import annotations

import asyncio
import copy
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_kit import canary
from deploy_kit import TEAM, USER, Town, kustomized, overlay_with
from test_deploy_rights import install, namespace, only, secret_of, team_with_jobs, team_with_secrets

from canary.checks.sources.job import Job
from canary.controller.clock import SystemClock
from canary.controller.job_documents import RunOf, manifest
from canary.controller.jobs import FOR_ACCOUNTS, JOBS_ACCOUNT, NEEDED, Jobs
from canary.errors import Forbidden, Unprocessable
from canary.kube import JOBS, PODS, ROLLOUTS, SERVICEACCOUNTS, Kube, KubeClient, Resource
from canary.metrics.port import Query
from canary.model.measurement import Malformed, Measurement, Unreachable

pytestmark = pytest.mark.timeout(180)

Json = dict[str, Any]

REAL_SECONDS = 30.0
SMOKE = Job("registry.example.com/smoke:1")
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
POLICIES = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
)
BINDINGS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
RIGHTS = [(group, resource, verb) for group, resource, verbs in NEEDED for verb in verbs]
no_admission = pytest.mark.real_only(
    "the sandbox's API server has no quotas, no policies and no pod security", since=30
)


@asynccontextmanager
async def person(place: Town, user: str) -> AsyncIterator[KubeClient]:
    """Somebody with the rights that were given to that user, and no others."""
    async with await KubeClient.connect(server=place.api.url, token=place.api.add_token(user)) as kube:
        yield kube


@asynccontextmanager
async def running(kube: Kube) -> AsyncIterator[Jobs]:
    jobs = Jobs(kube, SystemClock())
    try:
        yield jobs
    finally:
        await jobs.close()


async def until(what: str, look: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer: an API server takes a moment until it goes by new roles."""
    deadline = time.monotonic() + REAL_SECONDS
    while not (found := await look()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        await asyncio.sleep(0.05)
    return found


def lacking(documents: list[Json], group: str, resource: str, verb: str) -> list[Json]:
    """The same roles without one verb on one resource."""
    lean = copy.deepcopy(documents)
    for one in lean:
        for rule in one.get("rules") or ():
            if group in rule["apiGroups"] and resource in rule["resources"]:
                rule["verbs"] = [each for each in rule["verbs"] if each != verb]
        if "rules" in one:
            one["rules"] = [rule for rule in one["rules"] if rule["verbs"]]
    return lean


def run_of(uid: str = "9c6b0d0e-0000-4000-8000-000000000000") -> RunOf:
    return RunOf(TEAM, "shop", uid, 1, datetime.now(UTC), "smoke")


async def rollout(place: Town) -> Json:
    """One that Jobs may belong to."""
    await place.apply(only("HTTPRoute"))
    return await place.kube.get(ROLLOUTS, "shop", TEAM)


async def test_each_right_that_a_job_needs_is_named_when_it_is_missing(place: Town, tmp_path: Path) -> None:
    """One after the other is taken away; with all of them nothing is said, and a namespace that nobody named has none."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    granted = team_with_jobs(tmp_path)
    query = Query(SMOKE, tenant=(TEAM, "shop"))
    async with person(place, USER) as kube, running(kube) as jobs:

        async def said(words: str) -> bool:
            refusal = await jobs.validate(query)
            return words in (refusal.words if refusal is not None else "nothing")

        for group, resource, verb in RIGHTS:
            await place.apply(lacking(granted, group, resource, verb))
            words = f"the controller may not {verb} {resource} in namespace {TEAM}, which checks with job need"
            await until(words, lambda words=words: said(words))  # type: ignore[misc]
        await place.apply(granted)
        await until("no right is missing", lambda: said("nothing"))
        elsewhere = await jobs.validate(Query(SMOKE, tenant=("canary-system", "shop")))
        assert elsewhere is not None
        assert "may not create jobs in namespace canary-system" in elsewhere.words


async def test_who_writes_a_rollout_does_not_say_as_whom_its_jobs_run(place: Town, tmp_path: Path) -> None:
    """By the role for teams one may name a ServiceAccount, and not write that it is for Jobs; whose it is may. The controller has to see it."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    granted = team_with_jobs(tmp_path)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tests", "namespace": TEAM}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "canary-edit"}
    bound = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "bob", "namespace": TEAM},
        "roleRef": role,
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
    }
    await place.apply([account, bound, *lacking(granted, *FOR_ACCOUNTS[:2], "get")])
    named = Job("registry.example.com/smoke:1", account="tests")
    owner = (await rollout(place))["metadata"]["uid"]
    allows = {"metadata": {"annotations": {"canary.dev/jobs": "allowed"}}}
    async with person(place, USER) as kube, person(place, "bob") as bob, running(kube) as jobs:

        async def bobs() -> bool:
            body = {"metadata": {"annotations": {"example.com/by": "bob"}}}
            try:
                await bob.merge_patch(ROLLOUTS, "shop", TEAM, body)
            except Forbidden:
                return False
            return True

        await until("that bob may write Rollouts", bobs)
        with pytest.raises(Forbidden):
            await bob.merge_patch(SERVICEACCOUNTS, "tests", TEAM, allows)

        async def found(reason: str) -> Malformed | None:
            outcome = await jobs.run(named, run_of(owner))
            return outcome if isinstance(outcome, Malformed) and outcome.reason == reason else None

        unseen = await until("that it may not be seen", lambda: found("JobForbidden"))
        assert f"the controller may not get serviceaccounts in namespace {TEAM}" in unseen.message
        await place.apply(granted)
        refused = await until("that it is for no Jobs", lambda: found("ServiceAccountNotAllowed"))
        assert f"kubectl -n {TEAM} annotate serviceaccount tests canary.dev/jobs=allowed" in refused.message
        assert (await place.kube.list(JOBS, TEAM))["items"] == []

        await place.kube.merge_patch(SERVICEACCOUNTS, "tests", TEAM, allows)
        run = asyncio.create_task(jobs.run(named, run_of(owner)))

        async def created() -> list[Json]:
            return list((await place.kube.list(JOBS, TEAM))["items"])

        ((made),) = await until("a Job", created)
        pod = made["spec"]["template"]["spec"]
        assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("tests", True)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        jobs.remove(TEAM, owner, "smoke")

        async def gone() -> bool:
            return not await created()

        await until("that it goes", gone)


async def refusal(jobs: Jobs, reason: str) -> Measurement | None:
    found = await jobs.run(SMOKE, run_of())
    return found if getattr(found, "reason", "") == reason else None


async def test_a_right_that_goes_while_a_controller_lives_is_named(place: Town, tmp_path: Path) -> None:
    """The API server answers 403, and is asked which right that is about."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    await place.apply(lacking(team_with_jobs(tmp_path), "batch", "jobs", "create"))
    async with person(place, USER) as kube, running(kube) as jobs:
        found = await until("the missing right", lambda: refusal(jobs, "JobForbidden"))
    assert isinstance(found, Malformed)
    assert f"the controller may not create jobs in namespace {TEAM}" in found.message


@no_admission
@pytest.mark.parametrize("by", ["quota", "policy"])
async def test_who_may_create_jobs_and_is_refused_is_told_by_whom(place: Town, tmp_path: Path, by: str) -> None:
    """A quota answers 403 as a missing right does, a policy 422: in their own words, and no right is said to be missing."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    await place.apply(team_with_jobs(tmp_path))
    if by == "quota":
        hard = {"count/jobs.batch": "0"}
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few", "namespace": TEAM},
            "spec": {"hard": hard},
        }
        await place.kube.create(QUOTAS, quota)
        status = {"status": {"hard": hard, "used": {"count/jobs.batch": "0"}}}  # as the controller manager would
        await place.kube.merge_patch(QUOTAS, "few", TEAM, status, subresource="status")
    else:
        await place.kube.create(POLICIES, no_jobs())
        spec = {"policyName": "no-jobs", "validationActions": ["Deny"]}
        await place.kube.create(
            BINDINGS, {"apiVersion": BINDINGS.api_version, "kind": BINDINGS.kind, **named("no-jobs"), "spec": spec}
        )
    await until("that the API server goes by it", lambda: refuses_jobs(place))
    async with person(place, USER) as kube, running(kube) as jobs:
        found = await until("that it is refused", lambda: refusal(jobs, "JobRefused"))
    assert isinstance(found, Unreachable if by == "quota" else Malformed)
    assert ("exceeded quota: few" if by == "quota" else "no Jobs in this namespace, said the platform") in found.message
    assert "the controller may not" not in found.message


async def refuses_jobs(place: Town) -> bool:
    """Whether nobody may create a Job. A policy counts some time after it was created, and a Job of the controller that was created before
    would be waited for: nobody runs it here."""
    job = manifest(SMOKE, run_of(str(uuid.uuid4())), account=JOBS_ACCOUNT)
    try:
        await place.kube.create(JOBS, job, TEAM)
    except (Forbidden, Unprocessable):
        return True
    return False


def named(name: str) -> Json:
    return {"metadata": {"name": name}}


def no_jobs() -> Json:
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    mine = {"matchLabels": {"kubernetes.io/metadata.name": TEAM}}
    return {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        **named("no-jobs"),
        "spec": {
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": mine},
            "validations": [{"expression": "false", "message": "no Jobs in this namespace, said the platform"}],
        },
    }


@no_admission
async def test_the_pods_of_jobs_keep_the_strictest_pod_security_level(place: Town, tmp_path: Path) -> None:
    """In a namespace that enforces `restricted` they are created; with a field less they would not be."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    await place.apply([{**namespace(TEAM), "metadata": {"name": TEAM, "labels": strict}}, *team_with_jobs(tmp_path)])
    made = manifest(SMOKE, run_of(), account=JOBS_ACCOUNT)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "strict", "namespace": TEAM}, "spec": made["spec"]}
    await place.kube.create(PODS, pod)
    lax = copy.deepcopy(pod)
    lax["metadata"]["name"] = "lax"
    del lax["spec"]["containers"][0]["securityContext"]["runAsNonRoot"]
    with pytest.raises(Forbidden, match="restricted"):
        await place.kube.create(PODS, lax)


@pytest.mark.real_only("the sandbox's API server has no reviews about others", since=24)
async def test_doctor_asks_the_api_server_about_the_controller(place: Town, tmp_path: Path) -> None:
    """Who may ask is told what the controller lacks, and nothing once it has it; who may not ask is told that nobody did."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    documents = only("HTTPRoute")
    auth = {"secretRef": {"name": "prom"}}
    asks = {"query": "up", "address": "https://prometheus.example.com", "auth": auth}
    documents[-1]["spec"]["checks"] = [{"name": "own", "prometheus": asks, "threshold": {"max": 1}}]
    await place.apply([*documents, secret_of(TEAM, "prom", "of-the-team-0123456789", "prometheus.example.com")])

    async def told(config: Path) -> str:
        done = await canary("doctor", "-n", TEAM, "-o", "json", KUBECONFIG=str(config))
        assert "of-the-team-0123456789" not in done.out + done.err
        return " ".join(one["message"] for one in json.loads(done.out)["checks"])

    lacks = f"the controller (canary-system/canary-controller) may not read Secret prom in namespace {TEAM}"
    assert lacks in await told(place.kubeconfig)
    await place.apply(team_with_secrets(tmp_path))

    async def has_it() -> bool:
        return lacks not in await told(place.kubeconfig)

    await until("the right", has_it)
    viewer = place.api.kubeconfig(tmp_path / "viewer", user="vera")
    reads = [{"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": ["get"]}]
    reads += [{"apiGroups": ["canary.dev"], "resources": ["*"], "verbs": ["get", "list"]}]
    whom = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "vera"}
    await place.apply(
        [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "vera-of-the-tests"},
                "rules": reads,
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "vera-of-the-tests"},
                "roleRef": {**whom, "kind": "ClusterRole", "name": "vera-of-the-tests"},
                "subjects": [whom],
            },
        ]
    )

    async def doubted() -> bool:
        return "you may not create subjectaccessreviews" in await told(viewer)

    await until("that nobody could ask", doubted)
