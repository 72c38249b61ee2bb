"""Who refers to what, and who sends traffic where: whatever comes and goes, as if it had been counted anew."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from canary.model.rollout import RouteKind
from canary.model.workloads import DEPLOYMENT
from canary.observe.backends import Backends
from canary.observe.configs import Configs
from canary.observe.needs import AUTOSCALERS, Need, configs_of, needs_of, services_of
from canary.observe.objects import Key
from canary.observe.references import References
from canary.observe.workloads import WorkloadKey
from canary.preflight.surroundings import POLICY
from canary.routes.key import RouteKey

Json = dict[str, Any]

ROLLOUTS: list[Key] = [("blue", "a"), ("green", "a")]
SETS = [WorkloadKey("StatefulSet", place, "db") for place in ("blue", "green")]
NEEDS: list[Need] = [
    *(RouteKey(kind, place, "shop") for kind in (RouteKind.HTTP, RouteKind.GRPC) for place in ("blue", "green")),
    WorkloadKey(DEPLOYMENT, "blue", "shop"),
    *SETS,
    *(configs_of(key) for key in SETS),
    (POLICY, "blue", ""),
    (AUTOSCALERS, "blue", ""),
    (AUTOSCALERS, "green", ""),
]
DECLARED = st.none() | st.tuples(st.frozensets(st.sampled_from(NEEDS), max_size=4), st.booleans())
CHANGES = st.lists(st.tuples(st.sampled_from(ROLLOUTS), DECLARED), max_size=16)


NOTHING, A_SET = frozenset[Need](), frozenset[Need]({SETS[0]})


@given(CHANGES)
@example([(ROLLOUTS[0], said) for said in ((A_SET, False), (NOTHING, True), None, (NOTHING, True))])
def test_what_is_referred_to_is_what_the_present_rollouts_declare(
    changes: list[tuple[Key, tuple[frozenset[Need], bool] | None]],
) -> None:
    """Whatever came before; and one whose spec cannot be read in a run keeps what the last one that could be read referred to."""
    configs = Configs()
    references = References(configs)
    wanted: list[WorkloadKey] = []
    employed: set[tuple[str, str]] = set()
    references.on_employed = lambda kind, place: employed.symmetric_difference_update({(kind, place)})
    configs.on_wanted = wanted.append
    present: dict[Key, frozenset[Need]] = {}
    readable: dict[Key, frozenset[Need]] = {}
    for key, declared in changes:
        if declared is None:
            present.pop(key, None)
            readable.pop(key, None)
            references.drop(key)
            continue
        needs, unreadable = declared
        if not unreadable:
            readable[key] = needs
        present[key] = needs | readable.setdefault(key, frozenset())
        assert references.put(key, iter(needs), unreadable=unreadable) == present[key]
    everything = frozenset[Need]().union(*present.values())
    assert references.needs == present
    for need in NEEDS:
        assert references.dependents(*need) == {key for key, needs in present.items() if need in needs}
    assert references.employed() == employed == {key[:2] for key in SETS if key in everything}
    assert configs.wanted == {key for key in SETS if configs_of(key) in everything}
    assert set(wanted) >= configs.wanted
    assert references.copying == ((POLICY, "blue", "") in everything)
    assert references.scaling == len(references.places(AUTOSCALERS, None))
    for kind in (RouteKind.HTTP, RouteKind.GRPC):
        users = {key for key, needs in present.items() for need in needs if need[0] == kind}
        assert (references.users(kind, None), references.names(kind, None)) == (users, bool(users))


SERVICES = st.none() | st.lists(st.sampled_from([("blue", "x"), ("green", "x"), ("green", "y")]), unique=True).map(
    tuple
)


@given(st.lists(st.tuples(st.sampled_from(ROLLOUTS), SERVICES), max_size=12))
def test_who_sends_traffic_where_is_what_the_present_rollouts_say(
    changes: list[tuple[Key, tuple[Key, ...] | None]],
) -> None:
    """Also into other namespaces, by the namespace that is left."""
    backends, present = Backends(), dict[Key, tuple[Key, ...]]()
    for key, services in changes:
        if services is None:
            present.pop(key, None)
            backends.drop(key)
        else:
            present[key] = services
            backends.put(key, services)
    assert backends.services == present
    for service in (("blue", "x"), ("green", "x"), ("green", "y")):
        assert {*backends.senders(service)} == {key for key, services in present.items() if service in services}
    for place, home in (("green", "blue"), ("blue", "green"), ("blue", "blue")):
        found = {key for key, services in present.items() if key[0] == home and any(of == place for of, _ in services)}
        assert {*backends.crossing(place, home)} == (found if place != home else set())


FIELDS = [
    "name",
    "kind",
    "apiVersion",
    "namespace",
    "service",
    "includes",
    "template",
    "match",
    "mirror",
    "comparer",
    "stable",
    "canary",
]
SENSELESS = st.sampled_from([None, True, 7, "x", [], ["x"], {}])
"""What may stand anywhere."""
OBJECTS = st.dictionaries(
    st.sampled_from(FIELDS), SENSELESS | st.dictionaries(st.sampled_from(FIELDS), SENSELESS, max_size=2)
)
MEMBERS = ("routes", "revision", "workloads", "scale", "steps", "checks", "traffic", "stable", "canary")


@given(st.dictionaries(st.sampled_from(MEMBERS), SENSELESS | OBJECTS | st.lists(SENSELESS | OBJECTS, max_size=2)))
def test_a_spec_that_is_nonsense_still_refers_to_something(spec: Json) -> None:
    """Nothing raises, and what makes sense in it counts."""
    route = {"name": "shop"}
    routes = [*spec["routes"], route] if isinstance(spec.get("routes"), list) else [route]
    document = {"metadata": {"namespace": "blue", "name": "a"}, "spec": {**spec, "routes": routes}}
    assert RouteKey(RouteKind.HTTP, "blue", "shop") in set(needs_of(document))
    assert services_of(document)
