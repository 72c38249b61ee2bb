"""A request on its way to a Rollout that others write at the same time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_kit import rollout, status
from scripted_kube import ScriptedKube

from canary.cli.ask import CONFLICTS, Ask, answer, leave
from canary.cli.exits import CliError, ExitCode
from canary.errors import Conflict, Unavailable
from canary.kube import ROLLOUTS, SELF
from canary.model.requests import AS_ANNOTATION, REQUEST_ANNOTATION, Verb, claim

NS = "team-shop"


@pytest.fixture
def kube() -> ScriptedKube:
    kube = ScriptedKube(user="me")
    kube.put(ROLLOUTS, rollout(status()))
    return kube


def pending(kube: ScriptedKube) -> Any:
    (document,) = kube.kept(ROLLOUTS)
    return json.loads((document["metadata"].get("annotations") or {}).get(REQUEST_ANNOTATION, "null"))


async def test_the_request_of_somebody_else_is_never_overwritten(kube: ScriptedKube) -> None:
    """Another request that arrives between our read and our write wins: ours is refused by the guard, then by us."""

    async def theirs() -> None:
        value = json.dumps({"id": "theirs", "verb": "pause"})
        kube.put(ROLLOUTS, rollout(status(), annotations={REQUEST_ANNOTATION: value}))

    kube.script("get", "rollouts", then=theirs)
    with pytest.raises(CliError, match="another request"):
        await leave(kube, Ask(Verb.RESUME, "shop", NS))
    assert pending(kube)["id"] == "theirs"
    assert [asked.verb for asked in kube.asked] == ["get", "merge_patch", "get"]


async def test_a_status_that_is_written_all_the_time_is_no_obstacle(kube: ScriptedKube) -> None:
    """Each conflict leads to another read and another write, of the same request."""
    kube.script("merge_patch", error=Conflict("moved"), times=CONFLICTS - 1)
    request = await leave(kube, Ask(Verb.PAUSE, "shop", NS, reason="lunch"))
    assert (pending(kube)["id"], pending(kube)["reason"], pending(kube)["by"]) == (request.id, "lunch", "me")
    assert [asked.verb for asked in kube.asked] == ["get", "merge_patch"] * CONFLICTS


async def test_there_is_an_end_to_conflicts(kube: ScriptedKube) -> None:
    """The last one is what the person is told."""
    kube.script("merge_patch", error=Conflict("moved"), times=None)
    with pytest.raises(Conflict, match="moved"):
        await leave(kube, Ask(Verb.PAUSE, "shop", NS))
    assert sum(asked.verb == "merge_patch" for asked in kube.asked) == CONFLICTS
    assert pending(kube) is None


async def test_a_rollout_that_goes_between_read_and_write_is_said_to_be_gone(kube: ScriptedKube) -> None:
    """As one that was never there."""

    async def delete() -> None:
        await kube.delete(ROLLOUTS, "shop", NS)

    kube.script("get", "rollouts", then=delete)
    with pytest.raises(CliError, match="no Rollout shop") as gone:
        await leave(kube, Ask(Verb.PAUSE, "shop", NS))
    assert gone.value.code == ExitCode.NOT_FOUND


async def test_a_read_that_fails_for_a_moment_is_repeated(kube: ScriptedKube) -> None:
    """A write is not: whether it was done is not known."""
    kube.script("get", error=Unavailable("gone away"))
    request = await leave(kube, Ask(Verb.PAUSE, "shop", NS))
    assert pending(kube)["id"] == request.id
    kube.script("merge_patch", error=Unavailable("gone away"))
    with pytest.raises(Unavailable):
        await leave(kube, Ask(Verb.ABORT, "shop", NS))
    assert [asked.verb for asked in kube.asked] == ["get", "get", "merge_patch", "get", "merge_patch"]


async def test_a_request_that_is_replaced_is_not_waited_for(kube: ScriptedKube) -> None:
    """Somebody with `--replace` was faster than the controller."""
    ask = Ask(Verb.PAUSE, "shop", NS)
    request = await leave(kube, ask)
    await leave(kube, Ask(Verb.RESUME, "shop", NS, replace=True))
    with pytest.raises(CliError, match=r"replaced the request with another \(resume by me\)"):
        await answer(kube, ask, request)


async def test_who_approves_says_who_they_are(kube: ScriptedKube) -> None:
    """As the API server knows them, with those of their groups that matter; where nobody is asked for by name, nothing is said."""
    document = rollout(status())
    document["spec"]["steps"] = [
        {"weight": 10, "approval": {"by": {"users": ["alice"], "groups": ["leads", "others"]}}}
    ]
    kube.put(ROLLOUTS, document)
    info = {"username": "alice@example.com", "groups": ["system:authenticated", "leads"]}
    kube.script("create", SELF.plural, answer={"status": {"userInfo": info}})
    await leave(kube, Ask(Verb.PROMOTE, "shop", NS))
    (found,) = kube.kept(ROLLOUTS)
    annotations = found["metadata"]["annotations"]
    assert annotations[AS_ANNOTATION] == claim("alice@example.com", ("leads",), annotations[REQUEST_ANNOTATION])


async def test_nobody_says_who_they_are_for_nothing(kube: ScriptedKube) -> None:
    """Neither with another verb, nor where anybody may approve."""
    await leave(kube, Ask(Verb.PROMOTE, "shop", NS))
    (found,) = kube.kept(ROLLOUTS)
    assert AS_ANNOTATION not in found["metadata"]["annotations"]
    assert not [asked for asked in kube.asked if asked.verb == "create"]
