"""What the status says of the workloads, and what it says at rest about a release that is out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.decide.facts import Facts, Problem, RouteView, RuleView, WorkloadView
from canary.decide.scope import Decision
from canary.model.crd import structural
from canary.model.rollout import RolloutSpec, RouteKind
from canary.model.run_status import Outcome, RunStatus, StepStatus
from canary.model.status import Phase, RolloutStatus
from canary.model.workload_status import MAX_IMAGES, RevisionsStatus, WorkloadsStatus, WorkloadStatus
from canary.observe.workloads import images, workload_view
from canary.routes.acceptance import Acceptance
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair, Weights
from canary.status.project import project
from canary.status.write import Urgency, urgency

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = RolloutSpec.model_validate(
    {
        "routes": [{"name": "shop"}],
        "stable": {"service": "shop-stable", "port": 80},
        "canary": {"service": "shop-canary", "port": 80},
        "workloads": {"stable": {"name": "s"}, "canary": {"name": "c"}},
        "steps": [{"weight": 10}, {"weight": 100}],
    }
)
STABLE = WorkloadView("s", exists=True, revision="a", ready=4, rolled_out=True, replicas=4, images="shop:1,proxy:7")
CANARY = WorkloadView("c", exists=True, revision="b", ready=1, replicas=2, images="shop:2,proxy:7")


def route(stable: int, canary: int) -> RouteView:
    pair = Pair(Backend("shop-stable", "team", 80), Backend("shop-canary", "team", 80))
    rules = (RuleView("#0", Weights(stable, canary)),)
    return RouteView(RouteKey(RouteKind.HTTP, "team", "shop"), pair, rules=rules, acceptance=Acceptance(accepted=True))


def projected(status: RolloutStatus, *, share: int = 0, **facts: Any) -> RolloutStatus:
    world = {"stable": STABLE, "canary": CANARY, "routes": (route(100 - share, share),), **facts}
    seen = Facts(now=NOW, name="shop", uid="u", generation=1, **world)
    return project(SPEC, Decision(status, "Because", status.message), seen)


def won(**more: Any) -> RolloutStatus:
    message = "succeeded: s runs revision b"
    run = RunStatus(number=1, started_at=NOW, outcome=Outcome.SUCCEEDED, message=message)
    step = StepStatus(index=2, total=2, display="2/2", started_at=NOW)
    return RolloutStatus(phase=Phase.SUCCEEDED, run=run, step=step, message=message, **more)


def test_images_and_replicas_are_told() -> None:
    """What is being released, and how much of it is there: of each workload, by its role."""
    said = projected(RolloutStatus(phase=Phase.IDLE)).dump()["workloads"]
    assert said == {
        "stable": {"images": "shop:1,proxy:7", "ready": 4, "replicas": 4},
        "canary": {"images": "shop:2,proxy:7", "ready": 1, "replicas": 2},
    }


def test_no_replica_is_a_number_and_no_workload_is_none() -> None:
    """A workload that is scaled to nothing says 0; one that is not there, or not declared, says nothing."""
    idle = RolloutStatus(phase=Phase.IDLE)
    scaled = WorkloadView("c", exists=True, revision="b", images="shop:2")
    assert projected(idle, canary=scaled).dump()["workloads"]["canary"] == {
        "images": "shop:2",
        "ready": 0,
        "replicas": 0,
    }
    assert "canary" not in projected(idle, canary=WorkloadView("c", exists=False)).dump()["workloads"]
    assert "workloads" not in projected(idle, stable=None, canary=None).dump()


counts = st.one_of(st.none(), st.integers(0, 99))
workloads = st.one_of(
    st.none(), st.builds(WorkloadStatus, images=st.sampled_from(("", "a", "b")), ready=counts, replicas=counts)
)
both = st.builds(WorkloadsStatus, stable=workloads, canary=workloads)


@given(both, both, st.sampled_from(Phase))
def test_they_never_cause_a_write(before: WorkloadsStatus, after: WorkloadsStatus, phase: Phase) -> None:
    """A replica that comes or goes costs no request; images come with a revision, and that is written at once."""
    status = RolloutStatus(phase=phase, workloads=before)
    assert urgency(status, status.model_copy(update={"workloads": after}), 0) is Urgency.NONE
    revised = status.model_copy(update={"workloads": after, "revisions": RevisionsStatus(canary="b")})
    assert urgency(status, revised, 0) is Urgency.NOW


def deployment(*names: str) -> dict[str, Any]:
    containers = [{"name": f"c{index}", "image": name} for index, name in enumerate(names)]
    return {"spec": {"replicas": 3, "template": {"spec": {"containers": containers}}}, "status": {"readyReplicas": 2}}


def test_a_deployment_is_read_with_all_its_containers() -> None:
    """As kubectl shows them; how many replicas are wanted is what its spec says, 1 without a word."""
    view = workload_view(deployment("shop:2", "proxy:7"))
    assert (view.images, view.ready, view.replicas) == ("shop:2,proxy:7", 2, 3)
    bare = {"spec": {"template": {"spec": {"containers": [{"name": "odd"}]}}}}
    assert (workload_view(bare).images, workload_view(bare).replicas) == ("", 1)


@given(st.lists(st.text(max_size=600), max_size=9))
def test_images_are_bounded_by_what_the_definition_allows(names: list[str]) -> None:
    """However many containers with however long names: the API server never refuses a status for them."""
    text = images(deployment(*names))
    limit = structural(WorkloadStatus, status=True)["properties"]["images"]["maxLength"]
    assert len(text) <= limit == MAX_IMAGES
    whole = ",".join(names)
    assert text == whole if len(whole) <= limit else text[:-1] == whole[: limit - 1]


def test_after_a_success_nobody_wonders_about_a_weight_of_0() -> None:
    """`Succeeded 2/2 0` reads like a contradiction: at rest there is no step, and the message says who has the traffic."""
    after = projected(won())
    assert after.step is not None
    assert (after.step.display, after.step.index) == ("", 2)
    assert after.message == "succeeded: s runs revision b; traffic is on shop-stable"


def test_after_a_swap_the_other_service_has_the_traffic() -> None:
    """The name is that of the side that is stable now."""
    assert projected(won(swapped=True)).message.endswith("; traffic is on shop-canary")


@pytest.mark.parametrize("more", [{"share": 20}, {"problems": (Problem("spec", "no"),)}])
def test_what_is_not_so_is_not_said(more: dict[str, Any]) -> None:
    """Somebody gave the canary weight at rest, or the Rollout cannot be looked at: no word about all traffic."""
    assert projected(won(), **more).message == "succeeded: s runs revision b"


def test_a_rollback_says_at_which_step_it_happened() -> None:
    """There the step is what people want to know."""
    lost = won().model_copy(update={"phase": Phase.ROLLED_BACK})
    after = projected(lost)
    assert after.step is not None
    assert (after.step.display, after.message) == ("2/2", lost.message)
