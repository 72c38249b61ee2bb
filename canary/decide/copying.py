"""A copy of the canary's pod spec on the stable workload, and what its record is good for.

The record names the Rollout, the run, and the revision that the copy gave the workload. It is put back only where the
workload still runs exactly that: what somebody else has put there since stays, and a record of another Rollout or of a
run that was won is dropped.
"""

from __future__ import annotations

from canary.decide.actions import Action, ForgetPodSpec, RestorePodSpec
from canary.decide.facts import CopyView, WorkloadView
from canary.decide.scope import Scope
from canary.model.run_status import Outcome
from canary.routes.intent import name_part

PREFIX = "copy.canary.dev/"


def copy_annotation(rollout: str) -> str:
    """The annotation of a Rollout on its stable workload, which is the record."""
    return PREFIX + name_part(rollout)


def copy_of_run(scope: Scope) -> CopyView | None:
    """What this very run has copied to the stable workload, if that is on record there."""
    stable, run = scope.facts.stable, scope.status.run
    if stable is None or stable.copied is None or run is None:
        return None
    record = stable.copied
    if not record.uid:  # of a version that kept nothing but the pod spec: it ran one copy at a time
        return CopyView(scope.facts.uid, run.number, run.revision, record.replaced)
    return record if (record.uid, record.run) == (scope.facts.uid, run.number) else None


def untouched(stable: WorkloadView, record: CopyView) -> bool:
    """Whether a workload runs exactly what was copied to it."""
    return stable.revision == record.copied


def tidied_copy(scope: Scope) -> tuple[Action, ...]:
    """What is left to do about a copy when a run ends or has ended: put back, forgotten, or nothing."""
    stable, run = scope.facts.stable, scope.status.run
    if stable is None or stable.copied is None:
        return ()
    record = copy_of_run(scope)
    lost = run is None or run.outcome is not Outcome.SUCCEEDED
    if record is not None and lost and untouched(stable, record):
        return (RestorePodSpec(stable.name, stable.kind),)
    return (ForgetPodSpec(stable.name, stable.kind),)
