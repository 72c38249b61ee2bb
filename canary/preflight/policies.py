"""Whether a policy guards a rule by its name: a copy of it, which goes by another name, would escape that.

A policy may target one rule of a route (`targetRefs[].sectionName`), such as one that asks for a login. The rule that a step with a
`match` adds is a copy for requests that carry a header which anybody may send, so where nobody can tell whether such a policy
exists, no rule with a name is copied. What targets a whole route, its Gateway or a listener holds for what is added as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from canary.model.rollout import RolloutSpec, RouteRef
from canary.preflight.findings import Finding, Reason, Who
from canary.preflight.surroundings import Surroundings
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading

PREPARE = "or prepare a rule of your own for these requests, and give it a share under `rules`"


def policies(
    spec: RolloutSpec, ref: RouteRef, reading: RouteReading, pair: Pair, around: Surroundings
) -> Iterator[Finding]:
    """Why no rule of a route may be copied; the first step that would is named."""
    index = next((index for index, step in enumerate(spec.steps) if step.match is not None), None)
    if index is None:
        return
    _, rules = reading.declared(pair, ref.rules)
    names = [rule.name for rule in rules if rule.name is not None]
    known, field = around.policies(reading.namespace), f"spec.steps[{index}]"
    for name in names:
        what = f"{field}.match would copy rule {name} of {ref.kind} {ref.name}"
        if known is None:
            where = f" from {around.place}" if around.place else ""
            yield Finding(
                Reason.POLICIES_UNKNOWN,
                Who.PLATFORM,
                f"{what}, and whether a policy targets that rule by its name cannot be seen{where}; the copy would escape it",
                "the platform team has to let the controller read policies (kustomize: component `policies`, Helm: "
                f"`rbac.policies`); or take the name off the rule, {PREPARE}",
                field,
                sure=False,
            )
            return
        guard = next(
            (policy for policy in known if policy.targets_rule(ref.kind.value, reading.namespace, ref.name, name)), None
        )
        if guard is not None:
            yield Finding(
                Reason.POLICY_TARGETS_RULE,
                Who.APP_TEAM,
                f"{what}, which {guard.label} targets by its name; the copy, by another name, would escape that policy",
                f"let the policy target the whole route, {PREPARE}",
                field,
            )
            return
