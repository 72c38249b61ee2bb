"""What the findings of lint are about, a sentence for each id, for readers that show a catalogue next to a finding."""

from __future__ import annotations

from collections.abc import Mapping

from canary.lint.findings import Rule
from canary.lint.route_rules import Reason as Odd
from canary.preflight.findings import Reason

SENTENCES: Mapping[str, str] = {
    Rule.YAML: "A file is YAML or JSON that kubectl could read, and gives each key and each object once.",
    Rule.SCHEMA: "An object has the structure that its CustomResourceDefinition says, and no unknown fields.",
    Rule.CEL: "An object keeps the rules that its CustomResourceDefinition has in CEL.",
    Rule.PLAN: "The steps of a Rollout can end, and its weights rise on evidence.",
    Rule.TEMPLATE: "A check's template is there, and its arguments fit.",
    Rule.QUERY: "A query can be rendered, and says something about the canary.",
    Rule.CONDITION: "A condition is CEL that can be evaluated, and at what cost.",
    Rule.PROMQL: "A query, as it would be asked, is PromQL.",
    Rule.ROUTE: "A route has what a Rollout, or a gateway, needs of it.",
    Rule.SERVICE: "A Service is there, with its port and its own pods.",
    Rule.WORKLOAD: "A workload is there, and its pods are those that the Service selects.",
    Rule.RIVAL: "A rule of a route is driven by one Rollout.",
    Rule.GRANT: "Where a namespace is crossed, a ReferenceGrant lets it.",
    Rule.TARGET: "A target of notifications can be told, and its receiver can tell by whom.",
    Rule.LIVE: "What is in the cluster lets a run begin.",
    Reason.PARENT_MISSING: "The parents that a route names exist.",
    Reason.NO_MATCHING_PARENT: "A parent has the listener that a route names by sectionName or port.",
    Reason.NOT_ALLOWED_BY_LISTENERS: "A listener of the parent takes routes of this kind and of this namespace.",
    Reason.NO_MATCHING_LISTENER_HOSTNAME: "A listener of the parent is for a hostname of the route.",
    Reason.ROUTE_NOT_ATTACHED: "A route has parents, and they have answered for it.",
    Reason.NOT_ACCEPTED: "Every parent of a route accepts its current generation and resolves its references.",
    Reason.BACKEND_NOT_FOUND: "The Services that a route names exist.",
    Reason.WRONG_PORT: "The Services that a route names have the ports that it names.",
    Reason.REF_NOT_PERMITTED: "A ReferenceGrant lets a route name a Service of another namespace.",
    Reason.UNSUPPORTED_FEATURE: "A gateway can do what a route asks of it.",
    Reason.POLICY_TARGETS_RULE: "No policy targets a rule by its name of which a step adds a copy: the copy would escape it.",
    Reason.POLICIES_UNKNOWN: "Where a step adds a copy of a rule with a name, the policies of the cluster may be read.",
    Odd.MALFORMED: "A route has the structure of its kind.",
    Odd.NOT_IN_THIS_KIND: "The rules of a route have only what rules of its kind can have.",
    Odd.SENDS_NOWHERE: "A rule of a route sends its requests somewhere.",
    Odd.NO_PERCENTAGES: "Weights that look like percentages add up to 100.",
    Odd.NEVER_MATCHES: "A rule of a route can get requests.",
    Odd.MAY_NOT_READ: "What a judgement rests on may be read.",
}
"""By id: what holds where there is no such finding."""
