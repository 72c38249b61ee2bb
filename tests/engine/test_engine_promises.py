"""Whatever people, gateways, networks and crashes do, in whatever order: the promises hold."""

from __future__ import annotations

import copy
import json
import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from promises import OPT_IN, of_spot, opted
from world import RUN_ANNOTATION, Fault, Gateways, World, mirror_to, route, spec_of, stranger
from world import rule as rule_of

from canary.decide.facts import CopyView
from canary.routes.intent import parse_intent


def opt_in(value: str) -> dict[str, Any]:
    """Requests with a header that says so."""
    return {"headers": [{"name": OPT_IN, "value": value}]}


VERBS = ("start", "promote", "promote-full", "pause", "resume", "abort", "retry", "nonsense")
MEASURED = ("0", "0.5", "nan", "inf", "NoData", "Unreachable", "Malformed")
REVISIONS = ("a", "b", "c", "d")
STEPS: tuple[list[dict[str, Any]], ...] = (
    [{"weight": 10, "hold": "10s"}, {"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "10s"}],
    [{"approval": {}}, {"weight": "0.5%"}, {"weight": 20}, {"weight": 5}, {"approval": {}}, {"weight": 100}],
    [{"weight": 100}],
    [{"weight": 25, "approval": {}, "hold": "30s"}, {"hold": "20s", "weight": 60}],
    [{"weight": 0, "rules": {"x": 100}, "hold": "10s"}, {"weight": 10, "hold": "10s"}, {"weight": 100}],
    [{"weight": 20}, {"rules": {"x": 5}, "hold": "10s"}, {"weight": 50, "rules": {"x": 60}}],
    [{"mirror": {"percent": 20}, "hold": "10s"}, {"weight": 10, "hold": "10s"}, {"weight": 100}],
    [
        {"mirror": {"fraction": {"numerator": 1, "denominator": 3}, "allowUnsafeMethods": True}, "hold": "20s"},
        {"approval": {}},
        {"weight": 50, "mirror": {"percent": 100, "allowUnsafeMethods": True}},
    ],
    [{"match": [opt_in("yes")], "hold": "10s"}, {"weight": 10, "hold": "10s"}, {"weight": 100}],
    [
        {"weight": 20, "match": [opt_in("yes"), opt_in("2")], "hold": "10s"},
        {"match": [opt_in("2")], "approval": {}},
        {"match": [opt_in("2")], "mirror": {"percent": 50, "allowUnsafeMethods": True}, "hold": "20s"},
        {"weight": 50},
    ],
)
CHECK = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "holdLimit": "2m"}
CHECKS: tuple[list[dict[str, Any]], ...] = (
    [],
    [CHECK],
    [{**CHECK, "failureLimit": 2}, {**CHECK, "name": "latency"}],
    [CHECK, {**CHECK, "name": "shown", "dryRun": True}],
    [{**CHECK, "failures": "2 of 3"}],
)
ROUTES: tuple[dict[str, Any], ...] = (
    {"shop": lambda: route("shop")},
    {"shop": lambda: route("shop", rule_of(stable=None, canary=0), parents=2)},
    {"shop": lambda: route("shop", stranger(), rule_of(stable=90, canary=0, third=20), rule_of(stable=200, canary=0))},
    {"shop": lambda: route("shop"), "api": lambda: route("api", rule_of(name="x", stable=1000, canary=0))},
    {
        "shop": lambda: route("shop"),
        "GRPCRoute/shop": lambda: route("shop", rule_of(stable=20, canary=0)) | {"kind": "GRPCRoute"},
    },
    {"shop": lambda: route("shop", rule_of(name="x", stable=3, canary=0), rule_of(), stranger())},
    {"shop": lambda: route("shop", rule_of(method="GET"), rule_of(filters=[mirror_to("audit")]), rule_of(filters=[]))},
    {"shop": lambda: route("shop", rule_of(method="GET"), rule_of(filters=[mirror_to("c", percent=50)]))},
)


def named(called: str) -> dict[str, str]:
    """How a Rollout names a route of a world."""
    kind, name = of_spot(called)
    return {"kind": kind.value, "name": name}


def _edited(item: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Another filter, if it is one that sends copies to the canary."""
    return made if item.get("requestMirror", {}).get("backendRef", {}).get("name") == "c" else item


MOMENT = timedelta(milliseconds=1)
"""No two measurements are of one moment; on record times have milliseconds."""

DAMAGES = ("canary twice", "stable twice", "stable gone", "elsewhere", "one more", "mended")
WRITTEN = ("shop", "api", "GRPCRoute/shop", "rollout", "workload", "status")


class Cluster(RuleBasedStateMachine):
    """One Rollout, and everybody who has a hand in it."""

    world: World
    kept: dict[str, list[dict[str, Any]]]

    @initialize(
        steps=st.sampled_from(STEPS),
        checks=st.sampled_from(CHECKS),
        routes=st.sampled_from(ROUTES),
        promotion=st.sampled_from(("Copy", "Await", "Swap")),
        failure=st.sampled_from(("Rollback", "Pause")),
        deadline=st.sampled_from((None, "10m")),
        workloads=st.sampled_from((True, True, False)),
        settle=st.sampled_from((0, 2, 15)),
    )
    def begin(
        self,
        steps: Any,
        checks: Any,
        routes: Any,
        promotion: str,
        failure: str,
        deadline: str | None,
        workloads: bool,
        settle: int,
    ) -> None:
        changes: dict[str, Any] = {
            "routes": [named(called) for called in routes],
            "steps": steps,
            "checks": checks,
            "promotion": promotion,
            "onFailure": failure,
            "deadline": deadline,
        }
        if not workloads:
            changes |= {"workloads": None, "promotion": "Await" if promotion == "Copy" else promotion}
        self.kept = {}
        routed = {name: make() for name, make in routes.items()}
        self.world = World(spec=spec_of(**changes), routes=routed, settle=timedelta(seconds=settle))
        self.world.run()
        if workloads:
            self.world.revise("b")
        else:
            self.world.ask("start")
        self.world.run()

    def _on(self) -> bool:
        return not self.world.gone

    # -- time and evidence ----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 5, 15, 70, 300)))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    @rule(value=st.sampled_from(MEASURED), which=st.sampled_from((None, "errors")))
    def measured(self, value: str, which: str | None) -> None:
        self.world.now += MOMENT
        self.world.measure(value, which)
        self.world.run()

    @rule()
    def all_is_well(self) -> None:
        self.world.answer()
        self.world.pass_step(31)
        self.world.stable.rolled_out = self.world.canary.rolled_out = True
        self.world.run()

    # -- gateways and workloads -----------------------------------------------------------------------------------

    @rule(mode=st.sampled_from(Gateways))
    def gateways_become(self, mode: Gateways) -> None:
        self.world.answer(mode)
        self.world.run()

    @rule()
    def gateways_catch_up(self) -> None:
        self.world.answer()
        self.world.run()

    @rule(revision=st.sampled_from(REVISIONS))
    def new_revision(self, revision: str) -> None:
        self.world.revise(revision)
        self.world.run()

    @rule(ready=st.sampled_from((0, 1)), which=st.sampled_from(("stable", "canary")))
    def replicas(self, ready: int, which: str) -> None:
        getattr(self.world, which).ready = ready
        self.world.run()

    @rule(how=st.sampled_from(("known", "known", "unknown", "unseen")), which=st.sampled_from(("stable", "canary")))
    def is_known(self, how: str, which: str) -> None:
        """Or its configs cannot be read, or its kind is out of sight."""
        workload = getattr(self.world, which)
        workload.unknown, workload.unseen = "it cannot be read" if how == "unknown" else "", how == "unseen"
        self.world.run()

    @rule(how=st.sampled_from(("undo", "hotfix", "strip", "forge")), past=st.booleans())
    def somebody_changes_stable(self, how: str, past: bool) -> None:
        """Its pod spec, or what is on record of a copy there; `past`: its history is cut as well."""
        stable = self.world.stable if not (self.world.memory or self.world.status).swapped else self.world.canary
        run = (self.world.memory or self.world.status).run
        match how:
            case "undo" if stable.record is not None and stable.kept:
                self.world.somebody_deploys(stable.kept, "kubectl-rollout")
            case "hotfix":
                self.world.somebody_deploys("hotfix", "kubectl-set")
            case "strip":
                stable.record = None
            case "forge" if run is not None:
                stable.record = CopyView("uid-1", run.number, stable.revision, "evil")
        if past:
            stable.history.clear()
        self.world.run()

    @rule()
    def rolled_out(self) -> None:
        self.world.stable.rolled_out = self.world.canary.rolled_out = True
        self.world.run()

    # -- people ---------------------------------------------------------------------------------------------------

    @rule(verb=st.sampled_from(VERBS), plain=st.booleans(), number=st.integers(0, 999))
    def somebody_asks(self, verb: str, plain: bool, number: int) -> None:
        self.world.ask(verb, id_="" if plain else f"id-{number}")
        self.world.run()

    @rule(verb=st.sampled_from(VERBS), value=st.sampled_from(MEASURED))
    def somebody_asks_while_measured(self, verb: str, value: str) -> None:
        self.world.ask(verb, id_=f"now-{self.world.attempts}-{self.world.now}")
        self.world.now += MOMENT
        self.world.measure(value)
        self.world.run()

    @rule(canary=st.sampled_from((0, 3, 40, 90, None)), every=st.booleans(), data=st.data())
    def somebody_weighs(self, canary: int | None, every: bool, data: st.DataObject) -> None:
        """None: the pair gets nothing at all."""
        name = data.draw(st.sampled_from(sorted(self.world.routes)))
        rules = [index for index, r in enumerate(self.world.routes[name]["spec"]["rules"]) if r.get("name") != "static"]
        stable = 0 if canary is None else 100 - canary
        self.world.weigh(stable, canary or 0, name, None if every else data.draw(st.sampled_from(rules)))
        self.world.run()

    @rule(data=st.data())
    def somebody_replaces_the_route(self, data: st.DataObject) -> None:
        """`kubectl replace` of the manifest: weights of the manifest, and our annotation is gone."""
        name = data.draw(st.sampled_from(sorted(self.world.routes)))
        self.world.weigh(1, 0, name)
        self.world.strip(name)
        self.world.run()

    @rule(data=st.data())
    def somebody_strips_the_annotation(self, data: st.DataObject) -> None:
        self.world.strip(data.draw(st.sampled_from(sorted(self.world.routes))))
        self.world.run()

    @rule(data=st.data(), back=st.booleans())
    def somebody_moves_the_pair(self, data: st.DataObject, back: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.routes)))
        (self.world.add_pair if back else self.world.drop_pair)(name)
        self.world.run()

    @rule(data=st.data(), what=st.sampled_from(DAMAGES))
    def somebody_damages_a_rule(self, data: st.DataObject, what: str) -> None:
        """A rule lists the pair once each no more, or does so again; or another backend beside it."""
        name = data.draw(st.sampled_from(sorted(self.world.routes)))
        rules = self.world.routes[name]["spec"]["rules"]
        index = data.draw(
            st.sampled_from([at for at, each in enumerate(rules) if each not in opted({"spec": {"rules": rules}})])
        )

        def change(document: dict[str, Any]) -> None:
            refs = document["spec"]["rules"][index].get("backendRefs") or []
            ours = {role: [ref for ref in refs if ref["name"] == role] for role in ("s", "c")}
            if not ours["c"]:
                return
            match what:
                case "canary twice" | "stable twice" if len(refs) < 5 and ours[what[0]]:
                    refs.append({**ours[what[0]][0], "weight": 30})
                case "stable gone":
                    refs[:] = [ref for ref in refs if ref["name"] != "s"]
                case "elsewhere" if ours["s"]:
                    ours["s"][0]["port"] = 8888
                case "one more" if len(refs) < 5:
                    refs.append({"name": "other", "port": 80, "weight": 7})
                case "mended":
                    first = ours["s"][0] | {"port": 80} if ours["s"] else {"name": "s", "port": 80, "weight": 1}
                    refs[:] = [first, ours["c"][0], *(ref for ref in refs if ref["name"] not in ours)]

        self.world.edit_route(name, change)
        self.world.run()

    @rule(data=st.data(), what=st.sampled_from(("less", "more", "gone", "another", "user's own")))
    def somebody_edits_filters(self, data: st.DataObject, what: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.routes)))
        if what == "gone":
            self.world.unmirror(name)
        elif what == "user's own":
            self.world.edit_filters(
                lambda filters: filters.append(mirror_to("audit")) if len(filters) < 9 else None, name
            )
        elif self.world.copied(name):
            made = mirror_to("c", percent={"less": 3, "more": 90, "another": 50}[what])
            self.world.edit_filters(
                lambda filters: filters.__setitem__(slice(None), [_edited(item, made) for item in filters]), name
            )
        self.world.run()

    @rule(data=st.data(), what=st.sampled_from(("gone", "removed", "behind", "renamed", "timeouts")))
    def somebody_edits_rules(self, data: st.DataObject, what: str) -> None:
        """Takes away what a run added, or a rule of their own; puts a rule behind it, or edits what no request is matched by."""
        name = data.draw(st.sampled_from(sorted(self.world.routes)))

        def change(document: dict[str, Any]) -> None:
            rules = document["spec"]["rules"]
            added = opted(document)
            match what:
                case "gone":
                    rules[:] = [each for each in rules if each not in added]
                case "removed" if "method" in json.dumps(rules[0].get("matches")) and len(rules) > 1:
                    del rules[0]
                case "behind" if len(rules) < 6:
                    theirs = [{"headers": [{"name": "x-theirs", "value": "1"}]}]
                    rules.append({**stranger(), "name": f"static-{len(rules)}", "matches": theirs})
                case "timeouts" if added:
                    added[0]["timeouts"] = {"request": "9s"}
                case "renamed" if added:
                    added[0]["name"] = "mine"

        self.world.edit_route(name, change)
        self.world.run()

    @rule(data=st.data())
    def somebody_writes_what_was_there_before(self, data: st.DataObject) -> None:
        """The rules that a run took away come back, from a copy that somebody had, while it knows of them: to a later one they are somebody's."""
        name = data.draw(st.sampled_from(sorted(self.world.routes)))
        kept = self.kept.get(name)
        there = self.world.routes[name]
        if opted(there):
            self.kept[name] = copy.deepcopy(opted(there))
        elif kept is not None and self._adding(name):
            self.world.edit_route(name, lambda document: document["spec"]["rules"].extend(copy.deepcopy(kept)))
        self.world.run()

    def _adding(self, name: str) -> bool:
        intent = parse_intent((self.world.routes[name]["metadata"].get("annotations") or {}).get(RUN_ANNOTATION))
        return intent is not None and bool(intent.added)

    @rule(steps=st.sampled_from(STEPS))
    def plan_edited(self, steps: Any) -> None:
        self.world.declare(steps=steps)
        self.world.run()

    @precondition(lambda self: len(self.world.routes) > 1)
    @rule(data=st.data())
    def routes_edited(self, data: st.DataObject) -> None:
        there = st.sampled_from(sorted(self.world.routes))
        self.world.declare(
            routes=[named(called) for called in data.draw(st.lists(there, min_size=1, max_size=2, unique=True))]
        )
        self.world.run()

    @rule(paused=st.booleans())
    def spec_paused(self, paused: bool) -> None:
        self.world.declare(paused=paused)
        self.world.run()

    @precondition(lambda self: self.world.attempts > 25)
    @rule()
    def deleted(self) -> None:
        self.world.delete()
        self.world.run()

    # -- trouble --------------------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(Fault), where=st.sampled_from(WRITTEN))
    def next_write_goes_wrong(self, fault: Fault, where: str) -> None:
        self.world.faults[where] = fault

    @rule()
    def controller_dies(self) -> None:
        self.world.crash()
        self.world.run()

    @invariant()
    def gone_means_gone(self) -> None:
        world = getattr(self, "world", None)
        if world is not None and world.gone:
            assert not world.finalizer or world.deleting

    def teardown(self) -> None:
        """In the end all goes well again, and then every run ends and leaves nothing behind."""
        world = getattr(self, "world", None)
        if world is None or world.gone:
            return
        world.faults.clear()
        world.answer(Gateways.PROMPT)
        for name in world.routes:
            world.add_pair(name)
        world.stable.rolled_out = world.canary.rolled_out = True
        world.delete()
        world.wait(60)
        assert world.gone, f"the Rollout does not go: {world.decision}"


FAST = os.environ.get("CANARY_HYPOTHESIS", "steady") == "steady"
Cluster.TestCase.settings = settings(max_examples=150 if FAST else 1500, stateful_step_count=40)


@pytest.mark.timeout(600)  # a minute of computing, on a machine that may have other things to do
class TestPromises(Cluster.TestCase):
    """Random lives of one Rollout."""
