"""Who owns which rule of a shared route: by the index as by a search through everybody, and told to all whom it concerns."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observe_kit import TEAM, facts_of, furnished, meta, ref, rollout, route

from canary.decide.facts import RouteView
from canary.model.rollout import RouteKind, RouteRef
from canary.observe import rivals
from canary.observe.claims import Claimant, Claims, Standing
from canary.observe.objects import Key
from canary.observe.rollout import Rollout
from canary.observe.routes import Viewer, view
from canary.observe.store import Store
from canary.routes.intent import Intent, Mode, run_annotation
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair, Weights
from canary.routes.reading import RouteReading

Json = dict[str, Any]
Answers = dict[str, dict[tuple[str, str], str]]
"""By Rollout: for every rule that it would drive (route, rule), whose it is."""

NAMES = ("amy", "bob", "cat", "dan")
ROUTES = ("front", "back")
SERVICES = ("s", "c", "x")
RULES = ("one", "two", None)
RECORD = "canary.dev/run"
WEIGHTS = st.sampled_from([Weights(1, 0), Weights(90, 10)])


def pair(stable: str, canary: str) -> Pair:
    return Pair(Backend(stable, TEAM, 80), Backend(canary, TEAM, 80))


pairs = st.sampled_from([pair("s", "c"), pair("c", "s"), pair("s", "x")])
keys = st.sampled_from(["one", "two", "#0", "#2"])


@st.composite
def specs(draw: st.DrawFn) -> Json | None:
    """What a Rollout declares; now and then it is nonsense."""
    if draw(st.integers(0, 19)) == 11:
        return {"routes": [{"name": draw(st.sampled_from(ROUTES))}], "steps": "none"}
    both = draw(pairs)
    named = draw(st.lists(st.sampled_from(ROUTES), min_size=1, max_size=2, unique=True))
    return {
        "routes": [
            {"name": name, "rules": draw(st.lists(st.sampled_from(["one", "two"]), max_size=2, unique=True))}
            for name in named
        ],
        "stable": {"service": both.stable.service, "port": 80},
        "canary": {"service": both.canary.service, "port": 80},
        "steps": [{"weight": 10}],
    }


@st.composite
def statuses(draw: st.DrawFn) -> Json:
    """At rest or running, swapped or not, with what a run has on record of its routes."""
    status: Json = {
        "phase": draw(st.sampled_from(["Idle", "Progressing", "RollingBack"])),
        "swapped": draw(st.booleans()),
    }
    if draw(st.booleans()):
        status["routes"] = [
            {
                "kind": "HTTPRoute",
                "name": draw(st.sampled_from(ROUTES)),
                "owned": draw(st.booleans()),
                "pair": draw(pairs.map(str) | st.just("nonsense")),
                "baseline": draw(st.dictionaries(keys, WEIGHTS.map(str), max_size=2)),
            }
        ]
    return status


@st.composite
def routes(draw: st.DrawFn) -> Json:
    """Up to three rules, some named, some with backends that somebody's pair may consist of."""
    names = draw(st.lists(st.sampled_from(RULES), min_size=1, max_size=3, unique=True))
    rules = []
    for name in names:
        services = draw(st.sampled_from([SERVICES, SERVICES[:2], SERVICES[:2], SERVICES[1:]]))
        weight = draw(st.sampled_from([None, 0, 5]))
        refs = {"backendRefs": [ref(service, weight) for service in services]}
        rules.append(refs if name is None else {"name": name, **refs})
    return {"rules": rules}


records = st.builds(
    lambda name, both, baseline: Intent(
        name, f"uid-{name}", 3, Mode.STEP, 1, baseline, baseline, both, reason="", message=""
    ).dump(),
    st.sampled_from(NAMES),
    st.none() | pairs,
    st.dictionaries(keys, WEIGHTS, max_size=2),
)


class Scenario:
    """A store that is told of changes, and a copy of all documents to search through."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.rivals.on_moved = lambda owners, others: self.woken.update(owners | others)
        self.woken: set[Key] = set()
        self.rollouts: dict[str, Json] = {}
        self.routes: dict[str, Json] = {}
        self._version = 0

    def _meta(self, name: str, **more: Any) -> Json:
        self._version += 1
        return meta(name, self._version, generation=self._version, **more)

    def put_rollout(self, name: str, created: str, spec: Json | None, status: Json, *, answer: bool) -> None:
        if answer:  # a write of ours is an answer about what is there: it changes the status
            if name not in self.rollouts:
                return
            kept = self.rollouts[name]
            self._version += 1
            document = {**kept, "status": status}
            document["metadata"] = {**kept["metadata"], "resourceVersion": str(self._version)}
        else:
            document = {"metadata": self._meta(name, creationTimestamp=created), "spec": spec, "status": status}
        self.rollouts[name] = document
        assert self.store.put_rollout(copy.deepcopy(document), answer=answer)
        self.woken.add((TEAM, name))

    def drop_rollout(self, name: str) -> None:
        assert self.store.drop_rollout((TEAM, name)) is (self.rollouts.pop(name, None) is not None)

    def put_route(self, name: str, spec: Json | None, record: str | None, *, answer: bool) -> None:
        kept = self.routes.get(name)
        if kept is None and (answer or spec is None):
            return
        annotations = kept["metadata"].get("annotations", {}) if kept is not None else {}
        if not answer:
            annotations = {} if record is None else {RECORD: record}
        spec = spec if spec is not None or kept is None else kept["spec"]
        self.routes[name] = document = {"metadata": self._meta(name, annotations=annotations), "spec": spec}
        told = self.store.put_route(copy.deepcopy(document), answer=answer)
        if not answer or len(told) == 1:  # an answer wakes him who asked, and otherwise his rivals
            self.woken |= told

    def drop_route(self, name: str) -> None:
        self.routes.pop(name, None)
        self.woken |= self.store.drop_route(RouteKey(RouteKind.HTTP, TEAM, name))

    def settle(self, most: int) -> None:
        for _ in range(most):
            if not self.store.rivals.settle_one(TEAM):
                break

    def lines(self) -> Iterator[tuple[str, str, list[Claimant]]]:
        """For every rule of every route who would drive it, in order: by looking at everybody."""
        for name, document in self.routes.items():
            line: dict[str, list[Claimant]] = {}
            for found in map(Rollout.of, self.rollouts.values()):
                driven: set[str] = set()
                recorded: set[str] = set()
                if found.readable is not None:
                    viewer = Viewer(found.name, TEAM, found.readable, found.status)
                    record = next(
                        (one for one in found.status.routes if one.name == name and found.status.active), None
                    )
                    reading = RouteReading(document)
                    declared = [one for one in found.readable.routes if one.name == name]
                    for one in declared:
                        seen = view(viewer, one, reading)
                        driven |= {rule.key for rule in seen.rules}
                        recorded |= in_hand(found, name, seen)
                    intent = reading.intent(found.name)[0]
                    if not declared and record is not None and (record.owned or intent is not None):
                        # What a run has written counts where the spec does not name it, but nothing else of that route.
                        seen = view(viewer, RouteRef(kind=record.kind, name=name), reading, declared=False)
                        recorded |= in_hand(found, name, seen)
                        driven |= {rule.key for rule in seen.rules} & recorded
                for rule in driven:
                    at_it = Standing.ON_RECORD if rule in recorded else Standing.DECLARED
                    standing = at_it if found.status.active else Standing.AT_REST
                    line.setdefault(rule, []).append(Claimant(standing, found.created, found.name))
            yield from ((name, rule, sorted(those)) for rule, those in line.items())

    def answers(self) -> Answers:
        found: Answers = {name: {} for name in self.rollouts}
        for name, rule, those in self.lines():
            for one in those:
                found[one.name][name, rule] = those[0].name
        return found

    def agree(self) -> None:
        """The index says what the search says."""
        lines = {(name, rule): those for name, rule, those in self.lines()}
        for name in ROUTES:
            shared = len(self.store.references.dependents("HTTPRoute", TEAM, name)) > 1
            for rule in ("one", "two", "#0", "#1", "#2"):
                those = lines.get((name, rule), [])
                owner = self.store.rivals.owner(RouteKey(RouteKind.HTTP, TEAM, name), rule)
                assert owner == (those[0] if those and shared else None), (name, rule)


def in_hand(found: Rollout, name: str, seen: RouteView) -> set[str]:
    """The rules of a route that a run has in hand: by the status, and by the annotation."""
    records = [one for one in found.status.routes if one.name == name]
    keys = {seen.moved.get(key, key) for one in records for key in one.baseline}
    return keys | ({*seen.intent.baseline} if seen.intent is not None else set())


created = st.sampled_from(["2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"])
changes = st.one_of(
    *[st.tuples(st.just("put_rollout"), st.sampled_from(NAMES), created, specs(), statuses(), st.booleans())] * 3,
    st.tuples(st.just("drop_rollout"), st.sampled_from(NAMES)),
    st.tuples(st.just("put_route"), st.sampled_from(ROUTES), st.none() | routes(), st.none() | records, st.booleans()),
    st.tuples(st.just("drop_route"), st.sampled_from(ROUTES)),
    st.tuples(st.just("settle"), st.integers(0, 3)),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(changes, st.sampled_from(["go on", "ask", "settle first"])), max_size=20))
def test_the_index_says_what_a_search_says_and_wakes_whom_it_concerns(played: list[tuple[Any, str]]) -> None:
    """Whatever is edited: the same owner as by searching, and whoever's rule has another owner has been woken."""
    scenario = Scenario()
    before: Answers = {}
    for (what, *arguments), then in played:
        change = getattr(scenario, what)
        if what in {"put_rollout", "put_route"}:
            change(*arguments[:-1], answer=arguments[-1])
        else:
            change(*arguments)
        if then == "settle first":
            scenario.settle(1000)
        if then != "go on":
            scenario.agree()
            scenario.settle(1000)
            after = scenario.answers()
            moved = {name for name, said in after.items() if said != before.get(name)}
            assert moved <= {name for _, name in scenario.woken}
            assert not scenario.store.rivals.unsettled()
            before = after
            scenario.woken.clear()


claims_changes = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from("12"),
        st.none() | st.dictionaries(st.sampled_from("abc"), st.sampled_from(Standing)),
    ),
    max_size=30,
)


@given(claims_changes)
def test_lines_are_in_order(played: list[tuple[str, str, dict[str, Standing] | None]]) -> None:
    """The first in line owns a rule; a change names exactly the rules whose owner is another one."""
    claims, place = Claims(), RouteKey(RouteKind.HTTP, TEAM, "shop")
    kept: dict[str, dict[str, Claimant]] = {}
    for name, created_at, claim in played:
        owners = {rule: claims.owner(place, rule) for rule in "abc"}
        if claim is None:
            kept.pop(name, None)
            moved = claims.drop(place, name)
        else:
            kept[name] = {rule: Claimant(standing, created_at, name) for rule, standing in claim.items()}
            moved = claims.put(place, name, kept[name])
        for rule in "abc":
            line = sorted(one[rule] for one in kept.values() if rule in one)
            assert claims.line(place, rule) == [one.name for one in line]
            owner = claims.owner(place, rule)
            assert owner == (line[0] if line else None)
            other = owner is not None and (owners[rule] is None or owner.name != owners[rule].name)
            assert (rule in moved) is other


def test_what_somebody_drives_is_found_out_once_per_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway's status, weights and other people's records cost no look at what each of a hundred drives."""
    looked: list[str] = []

    def counting(viewer: Viewer, *arguments: Any, **more: Any) -> Any:
        looked.append(viewer.name)
        return view(viewer, *arguments, **more)

    monkeypatch.setattr(rivals, "view", counting)
    store = Store()
    store.put_route(route())
    names = [f"r{number:02}" for number in range(100)]
    for name in names:
        store.put_rollout(rollout(name))

    def ask() -> list[str]:
        looked.clear()
        for _ in names:
            owner = store.rivals.owner(RouteKey(RouteKind.HTTP, TEAM, "shop"), "#0")
            assert owner is not None
            assert owner.name == "r00"
        return sorted(looked)

    assert ask() == names
    assert ask() == []
    store.put_route(route(version=2, accepted=False))
    assert ask() == []
    store.put_route(route("shop", {"backendRefs": [ref("stable", 50), ref("canary", 50)]}, version=3))
    assert ask() == []
    record = Intent("r07", "uid-r07", 3, Mode.STEP, 1, {}, {}).dump()
    store.put_route(
        route("shop", {"backendRefs": [ref("stable", 50), ref("canary", 50)]}, version=4, annotations={RECORD: record})
    )
    assert ask() == ["r07"]
    store.put_rollout(rollout("r42", version=2))
    assert ask() == ["r42"]
    store.put_route(route("shop", {"name": "x", "backendRefs": [ref("stable", 1), ref("canary", 0)]}, version=5))
    looked.clear()
    assert store.rivals.owner(RouteKey(RouteKind.HTTP, TEAM, "shop"), "#0") is None
    assert sorted(looked) == names


def test_a_route_of_one_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks what a Rollout drives that has its route to itself."""
    monkeypatch.setattr(rivals, "view", lambda *_, **__: pytest.fail("looked"))
    store = furnished()
    assert facts_of(store, rollout()).problems == ()
    assert not store.rivals.unsettled()


def test_those_in_line_are_told_once_of_many_that_go() -> None:
    """Each that goes makes one the owner, at once; the rest hear of the last one only."""
    store = Store()
    store.put_route(route())
    names = [f"r{number:02}" for number in range(20)]
    for name in names:
        store.put_rollout(rollout(name))
    while store.rivals.settle_one(TEAM):
        pass
    told: list[tuple[set[Key], set[Key]]] = []
    store.rivals.on_moved = lambda owners, others: told.append((owners, others))
    for name in names[:15]:
        store.drop_rollout((TEAM, name))
    assert told == [({(TEAM, name)}, set()) for name in names[1:16]]
    told.clear()
    while store.rivals.settle_one(TEAM):
        pass
    assert told == [(set(), {(TEAM, name) for name in names[16:]})]


def test_routes_of_one_name_and_two_kinds_have_owners_of_their_own() -> None:
    """Two Rollouts that drive an HTTPRoute and a GRPCRoute of one name are no rivals; a third, of both, waits for each."""
    store = furnished(route(), {**route(), "kind": "GRPCRoute"})
    grpc = {"kind": "GRPCRoute", "name": "shop"}
    early = {"metadata": {"creationTimestamp": "2026-01-01T09:00:00Z"}}
    store.put_rollout(rollout("http", **early))
    store.put_rollout(rollout("grpc", **early, routes=[grpc]))
    assert facts_of(store, rollout("http", **early)).problems == ()
    assert facts_of(store, rollout("grpc", **early, routes=[grpc])).problems == ()
    both = facts_of(store, rollout("both", routes=[{"name": "shop"}, grpc])).problems
    assert [(problem.field, problem.message.partition(" already")[0]) for problem in both] == [
        ("spec.routes[0]", "Rollout http drives rule #0 of HTTPRoute shop"),
        ("spec.routes[1]", "Rollout grpc drives rule #0 of GRPCRoute shop"),
    ]


def test_the_message_names_the_owner_and_the_rule() -> None:
    """Of several that come before us the one is named whose rule it is, not one that waits like us."""
    rules = [{"name": name, "backendRefs": [ref("stable", 1), ref("canary", 0)]} for name in ("one", "two")]
    store = furnished(route("shop", *rules))
    first = {"metadata": {"creationTimestamp": "2026-01-01T09:00:00Z"}}
    second = {"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}}
    store.put_rollout(rollout("zoe", **first, routes=[{"name": "shop", "rules": ["two"]}]))
    store.put_rollout(rollout("abe", **second))
    (problem,) = facts_of(store, rollout(routes=[{"name": "shop", "rules": ["two"]}])).problems
    assert problem.message.startswith("Rollout zoe drives rule two of HTTPRoute shop already")
    (problem,) = facts_of(store, rollout()).problems
    assert problem.message.startswith("Rollout abe drives rule one of HTTPRoute shop already")


UNREAD = [{"weight": 10, "hold": "soon"}]


def running(name: str, *, kind: str = "HTTPRoute", share: str = "90/10", **spec: Any) -> Json:
    """A Rollout of which a run has written the only rule of its route, by the status."""
    record = {"kind": kind, "name": "shop", "owned": True, "baseline": {"#0": "1/0"}}
    status = {"phase": "RollingBack", "routes": [{**record, "pair": f"{TEAM}/stable:80 {TEAM}/canary:80"}]}
    return rollout(name, status=status, **spec)


@pytest.mark.parametrize(
    "edit",
    [
        {"steps": UNREAD},
        {"steps": UNREAD, "stable": {"service": "stable", "port": "http"}},
        {"routes": [{"name": "shop", "kind": "QUICRoute"}]},
        {"routes": "shop"},
        {"routes": [{"name": "elsewhere"}]},
    ],
    ids=["steps", "pair", "kind", "routes", "another route"],
)
def test_what_a_run_has_written_stays_its_own(edit: Json) -> None:
    """Whatever its spec says by now, or cannot say: it comes before whoever is older and at rest. Once it is gone the rule is free."""
    store = furnished()
    store.put_rollout(running("zoe", **edit))
    early = {"metadata": {"creationTimestamp": "2026-01-01T09:00:00Z"}}
    problems = facts_of(store, rollout("amy", **early)).problems
    assert [(problem.reason, problem.message.partition(" already")[0]) for problem in problems] == [
        ("ConflictingRollout", "Rollout zoe drives rule #0 of HTTPRoute shop")
    ]
    store.drop_rollout((TEAM, "zoe"))
    assert facts_of(store, rollout("amy", **early)).problems == ()


def test_of_a_route_that_is_named_no_more_only_what_was_written_is_held() -> None:
    """The other rule of it is free for somebody else."""
    rules = [{"name": name, "backendRefs": [ref("stable", 1), ref("canary", 0)]} for name in ("one", "two")]
    store = furnished(route("shop", *rules))
    document = running("zoe", routes=[{"name": "elsewhere"}])
    document["status"]["routes"][0]["baseline"] = {"one": "1/0"}
    store.put_rollout(document)
    assert facts_of(store, rollout("two", routes=[{"name": "shop", "rules": ["two"]}])).problems == ()
    found = facts_of(store, rollout("one", routes=[{"name": "shop", "rules": ["one"]}])).problems
    assert [problem.message.partition(" already")[0] for problem in found] == [
        "Rollout zoe drives rule one of HTTPRoute shop"
    ]


def noted(name: str, key: str = "#0", *, under: str = "") -> Json:
    """A route with the annotation of somebody's run on one rule."""
    both = pair("stable", "canary")
    record = Intent(name, f"uid-{name}", 3, Mode.STEP, 1, {key: Weights(1, 0)}, {key: Weights(1, 0)}, both).dump()
    rules = [{"backendRefs": [ref("stable", 1), ref("canary", 0)]}] * 2
    return route("shop", *rules, annotations={under or run_annotation(name): record})


def test_a_route_says_whose_run_is_on_a_rule() -> None:
    """Believed until it is known that there is no such Rollout, or that it has nothing to do with the route."""
    store = furnished(noted("zoe", "#1"))
    document = rollout("amy")
    (problem,) = facts_of(store, document).problems
    assert (problem.field, problem.reason) == ("spec.routes[0]", "ConflictingRollout")
    assert problem.message.startswith("a run of Rollout zoe is on rule #1 of HTTPRoute shop, by the annotation")
    assert facts_of(furnished(noted("zoe", "#1")), rollout("zoe")).problems == ()
    store.listed = True
    assert facts_of(store, document).problems == ()
    store.put_rollout(rollout("zoe", version=2, routes=[{"name": "elsewhere"}]))
    assert facts_of(store, document).problems == ()
    store.put_rollout(rollout("zoe", version=3, metadata={"creationTimestamp": "2026-01-01T13:00:00Z"}))
    assert [problem.message.partition(",")[0] for problem in facts_of(store, document).problems] == [
        "a run of Rollout zoe is on rule #1 of HTTPRoute shop"
    ]


@pytest.mark.parametrize(
    "said",
    [
        noted("zoe", "#7"),
        noted("zoe", under=run_annotation("bob")),
        route(annotations={run_annotation("zoe"): "{"}),
        noted("amy"),
    ],
    ids=["no such rule", "of another one", "nonsense", "our own"],
)
def test_what_says_nothing_of_a_rule_bars_nobody(said: Json) -> None:
    """It is parsed at the door, as one's own is."""
    assert facts_of(furnished(said), rollout("amy")).problems == ()


def test_whoever_waits_for_an_annotated_rule_hears_that_its_run_is_gone() -> None:
    """Though it was alone on the route by what Rollouts say."""
    store = Store()
    told: list[set[Key]] = []
    store.rivals.on_moved = lambda _, others: told.append(others)
    store.put_route(noted("zoe"))
    store.put_rollout(rollout("amy"))
    store.put_rollout(rollout("zoe"))
    while store.rivals.settle_one(TEAM):
        pass
    told.clear()
    store.drop_rollout((TEAM, "zoe"))
    assert {(TEAM, "amy")} in told
