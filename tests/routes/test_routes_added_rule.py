"""Rules for opted-in requests: what is added, what it does to every request there is, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import jsonpatch
import pytest
import yaml
from gateway_model import Request, requests, serving
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE, Json, ref, route, rule

from canary.routes.added_refusals import Refused, Why
from canary.routes.added_rule import added_rules
from canary.routes.adding import AddRule
from canary.routes.matching import Condition, FieldMatch
from canary.routes.pair import Pair
from canary.routes.plan import RoutePlan
from canary.routes.rules import every_pair
from canary_sandbox.apiserver.schema import Schema
from canary_sandbox.cluster import gateway_api_crds

PAIR = Pair(STABLE, CANARY)
HTTP, GRPC = "HTTPRoute", "GRPCRoute"
HEADERS = {"x": ["1", "2"], "y": ["1"], "h": ["1"], "g": ["1"]}
QUERY = {"p": ["1"], "q": ["1"]}
OPT_IN = Condition((FieldMatch("H", "1"),))


def given_route(*rules: Json, kind: str = HTTP) -> Json:
    return {"kind": kind, **route(*rules)}


def asked(document: Json, *conditions: Condition, **more: bool) -> tuple[AddRule, ...] | Refused:
    return added_rules(document["kind"], document, every_pair(document, PAIR), conditions, **more)


def with_added(document: Json, added: Sequence[AddRule]) -> Json:
    edit = RoutePlan(PAIR, tuple(added)).patch(document)
    after: Json = jsonpatch.apply_patch(document, [*edit.tests, *edit.changes])
    return after


def ours(*matches: Json, name: str | None = None, **more: Any) -> Json:
    found = {"matches": list(matches)} if matches else {}
    return rule(ref("s", 1), ref("c", 0), name=name, **found, **more)


def others(*matches: Json, name: str | None = None) -> Json:
    return rule(ref("elsewhere", 1), name=name, matches=list(matches))


def headers(**values: str) -> Json:
    return {"headers": [{"type": "Exact", "name": name, "value": value} for name, value in values.items()]}


def query(**values: str) -> Json:
    return {"queryParams": [{"type": "Exact", "name": name, "value": value} for name, value in values.items()]}


def path(value: str, type_: str = "PathPrefix") -> Json:
    return {"path": {"type": type_, "value": value}}


# -- what is added --------------------------------------------------------------------------------------------------


def test_a_rule_is_copied_whole() -> None:
    """Everything of the rule is there again, what nobody knows yet too, but its name, its matches and its backends."""
    source = rule(
        ref("s", 9, filters=[{"type": "X"}]),
        ref("c", 0, filters=[{"type": "Y"}], group="", kind="Service"),
        ref("third", 5),
        name="checkout",
        matches=[path("/a") | {"method": "GET"}, headers(x="1")],
        filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["z"]}}],
        timeouts={"request": "3s"},
        future={"deep": [1, {"er": None}]},
    )
    before = given_route(source)
    found = asked(before, OPT_IN)
    assert not isinstance(found, Refused)
    (added,) = found
    opted_in = {"type": "Exact", "name": "H", "value": "1"}
    assert added.rule == source | {
        "name": f"checkout-canary-{added.mark}",
        "matches": [
            path("/a") | {"method": "GET", "headers": [opted_in]},
            path("/") | {"headers": [*headers(x="1")["headers"], opted_in]},
        ],
        "backendRefs": [ref("c", 1, filters=[{"type": "Y"}], group="", kind="Service")],
    }
    added.rule["future"]["deep"].clear()
    assert before == given_route(source)


def test_a_mirror_to_the_canary_is_not_copied() -> None:
    """The canary would get each request of those that it serves once more; mirrors to others stay."""
    to = [{"type": "RequestMirror", "requestMirror": {"backendRef": ref(name)}} for name in ("audit", "c")]
    found = asked(given_route(ours(path("/a"), filters=to)), OPT_IN)
    assert not isinstance(found, Refused)
    assert found[0].rule["filters"] == to[:1]
    before = asked(given_route(ours(path("/a"), filters=to[:1])), OPT_IN)
    assert not isinstance(before, Refused)
    assert before[0].mark == found[0].mark


@pytest.mark.parametrize(("kind", "match"), [(HTTP, path("/")), (GRPC, {})])
@pytest.mark.parametrize("given_matches", [{}, {"matches": []}])
def test_a_rule_without_matches_is_one_that_takes_everything(kind: str, match: Json, given_matches: Json) -> None:
    """Its copy asks for the header alone: for HTTP below the path that the API fills in, for gRPC for nothing besides."""
    found = asked(given_route(rule(ref("s", 1), ref("c", 0), **given_matches), kind=kind), OPT_IN)
    assert not isinstance(found, Refused)
    assert found[0].rule["matches"] == [match | headers(H="1")]
    assert "name" not in found[0].rule


def test_a_long_name_leaves_room_for_what_tells_the_copy_apart() -> None:
    """The copy's name is one that the API takes, however long the rule's is."""
    found = asked(given_route(ours(name="a" * 253)), OPT_IN)
    assert not isinstance(found, Refused)
    assert len(found[0].rule["name"]) == 253


# -- what it does to requests ---------------------------------------------------------------------------------------

http_matches = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from(
            [path("/")["path"], path("/a")["path"], path("/a/b")["path"], path("/a", "Exact")["path"]]
        ),
        "method": st.sampled_from(["GET", "POST"]),
        "headers": st.sampled_from([headers(x="1"), headers(x="2"), headers(x="1", y="1")]).map(
            lambda one: one["headers"]
        ),
        "queryParams": st.just(query(p="1")["queryParams"]),
    },
)
grpc_matches = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(
            [{"service": "long"}, {"service": "s"}, {"service": "s", "method": "m"}, {"method": "n"}]
        ),
        "headers": st.sampled_from([headers(x="1"), headers(x="2"), headers(x="1", y="1")]).map(
            lambda one: one["headers"]
        ),
    },
)
extras: st.SearchStrategy[Json] = st.sampled_from([{}, {"timeouts": {"request": "1s"}}, {"future": [1]}])


@st.composite
def routes(draw: st.DrawFn, kind: str, most_rules: int = 4, most_matches: int = 2) -> Json:
    matches = http_matches if kind == HTTP else grpc_matches
    rules = []
    for index in range(draw(st.integers(1, most_rules))):
        refs = draw(st.sampled_from([[ref("s", 1), ref("c", 0)], [ref("c", 3), ref("s"), ref("t", 2)], [ref("o")], []]))
        listed = draw(st.lists(matches, max_size=most_matches))
        name = draw(st.sampled_from([None, f"rule-{index}"]))
        rules.append(rule(*refs, name=name, **({"matches": listed} if listed else {}), **draw(extras)))
    return given_route(*copy.deepcopy(rules), kind=kind)


conditions = st.sampled_from(
    [
        (Condition((FieldMatch("H", "1"),)),),
        (Condition((FieldMatch("h", "1"), FieldMatch("g", "1"))),),
        (Condition((FieldMatch("h", "1"),)), Condition((FieldMatch("g", "1"), FieldMatch("H", "1")))),
        (Condition(query_params=(FieldMatch("q", "1"),)),),
        (Condition((FieldMatch("h", "1"),), (FieldMatch("q", "1"),)), Condition((FieldMatch("g", "1"),))),
        (Condition((FieldMatch("X", "1"),)),),
    ]
)
kinds = st.sampled_from([HTTP, GRPC])


def opts_in(request: Request, asked_for: Sequence[Condition]) -> bool:
    return any(
        all(request.headers.get(one.name.lower()) == one.value for one in each.headers)
        and all(request.query.get(one.name) == one.value for one in each.query_params)
        for each in asked_for
    )


@settings(max_examples=120)
@given(st.data(), kinds, conditions)
def test_an_opted_in_request_reaches_the_canary_and_any_other_does_what_it_did(
    data: st.DataObject, kind: str, asked_for: Sequence[Condition]
) -> None:
    """Of every request there is: one that opts in, and that a rule of ours serves, goes to the canary by a copy of that rule."""
    document = data.draw(routes(kind))
    found = asked(document, *asked_for)
    event(found.why if isinstance(found, Refused) else "added")
    assume(not isinstance(found, Refused))
    assert not isinstance(found, Refused)
    after = with_added(document, found)
    sources = {pair.rule for pair in every_pair(document, PAIR)}
    for request in requests(kind, HEADERS, QUERY):
        before, now = serving(document, request), serving(after, request)
        if before not in sources or not opts_in(request, asked_for):
            assert now == before, request
            continue
        assert before is not None
        assert now is not None
        assert now >= len(document["spec"]["rules"]), request
        served, source = after["spec"]["rules"][now], document["spec"]["rules"][before]
        assert [each["name"] for each in served["backendRefs"]] == ["c"]
        assert served.get("timeouts") == source.get("timeouts"), request


@settings(max_examples=150)
@given(st.data(), kinds, conditions, st.sampled_from([0, 1]))
def test_a_refusal_for_precedence_is_one_that_some_request_proves(
    data: st.DataObject, kind: str, asked_for: Sequence[Condition], theirs: int
) -> None:
    """Of two rules with one match each: refused exactly if the copy would take requests of the other rule, or would get none."""
    matches = http_matches if kind == HTTP else grpc_matches
    two = [ours(data.draw(matches)), others(data.draw(matches))]
    document = copy.deepcopy(given_route(*(two if theirs else two[::-1]), kind=kind))
    found = asked(document, asked_for[0])
    why = found.why if isinstance(found, Refused) else None
    event(why or "added")
    if why in {Why.TAKEN, Why.UNSUPPORTED}:
        return
    after = copy.deepcopy(document)
    match = two[0]["matches"][0]
    after["spec"]["rules"].append({"matches": [asked_for[0].narrowed(kind, match)], "backendRefs": [ref("c", 1)]})
    answers = [(serving(document, request), serving(after, request)) for request in requests(kind, HEADERS, QUERY)]
    moved = {before for before, now in answers if before != now}
    assert (why is Why.OUTRANKS) == (theirs in moved)
    assert (why is Why.ADDS_NOTHING) == (not moved)
    if isinstance(found, Refused):
        assert found.rule == f"#{theirs}"


@cache
def schema(kind: str) -> Schema:
    """The definition of a kind of route that this run of the tests is about: our concise one, or a released one."""
    (found,) = gateway_api_crds().glob(f"*{kind.lower()}s.yaml")
    versions = {each["name"]: each for each in yaml.safe_load(found.read_text())["spec"]["versions"]}
    return Schema(versions["v1"]["schema"]["openAPIV3Schema"])


def objections(document: Json) -> list[str]:
    """What an API server would say about a route, its schema and rules and the limits that our definitions leave out."""
    filled = {"apiVersion": "gateway.networking.k8s.io/v1", **copy.deepcopy(document)}
    schema(document["kind"]).default(filled)
    found = [str(error) for error in schema(document["kind"]).errors(filled, None)]
    names = [each["name"] for each in document["spec"]["rules"] if "name" in each]
    matches = sum(len(each.get("matches") or ()) for each in filled["spec"]["rules"])
    return [*found, *(["names"] if len(set(names)) < len(names) else []), *(["matches"] if matches > 128 else [])]


@settings(max_examples=60)
@given(st.data(), kinds, conditions)
def test_what_is_added_leaves_a_valid_route(data: st.DataObject, kind: str, asked_for: Sequence[Condition]) -> None:
    """Against the definitions that this run of the tests is about, also where a route is almost full."""
    document = data.draw(routes(kind, 3))
    for each in document["spec"]["rules"]:
        each.pop("future", None)
        if kind == GRPC:
            each.pop("timeouts", None)
    spare = st.sampled_from([0, 0, 10, 13])
    document["spec"]["rules"] += [others(path(f"/{n}") if kind == HTTP else {}) for n in range(data.draw(spare))]
    for each in document["spec"]["rules"]:
        copies = data.draw(st.sampled_from([1, 1, 1, 12]))
        each["matches"] = (each.get("matches") or [headers(y="1")]) * copies
    assume(not objections(document))
    found = asked(document, *asked_for)
    event(found.why if isinstance(found, Refused) else "added")
    if not isinstance(found, Refused):
        assert objections(with_added(document, found)) == []


# -- what is refused ------------------------------------------------------------------------------------------------

REWRITE = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
TWO_HEADERS = Condition((FieldMatch("h", "1"), FieldMatch("g", "1")))
BY_QUERY = Condition(query_params=(FieldMatch("q", "1"),))
REGEX = path("/a.*", "RegularExpression")

REFUSALS: list[tuple[str, Json, tuple[Condition, ...], Why, str]] = [
    (
        "two added headers outrank one",
        given_route(others(headers(x="1"), name="team"), ours()),
        (TWO_HEADERS,),
        Why.OUTRANKS,
        "team",
    ),
    (
        "a header outranks query parameters",
        given_route(ours(), others(query(p="1", q="2"))),
        (OPT_IN,),
        Why.OUTRANKS,
        "#1",
    ),
    (
        "a rule of one rank that was in front",
        given_route(others(query(p="1")), ours(query(r="1"))),
        (BY_QUERY,),
        Why.OUTRANKS,
        "#0",
    ),
    ("a regular expression of ours", given_route(ours(REGEX)), (OPT_IN,), Why.REGULAR_EXPRESSION, "#0"),
    ("a regular expression elsewhere", given_route(ours(), others(REGEX, name="r")), (OPT_IN,), Why.UNDECIDABLE, "r"),
    ("a slash at the end", given_route(others(path("/a/")), ours(path("/a"))), (OPT_IN,), Why.UNDECIDABLE, "#0"),
    ("a header that is there", given_route(ours(), ours(headers(h="2"), name="beta")), (OPT_IN,), Why.TAKEN, "beta"),
    (
        "a header twice",
        given_route(ours()),
        (Condition((FieldMatch("h", "1"), FieldMatch("H", "1"))),),
        Why.TAKEN,
        "#0",
    ),
    ("query parameters of gRPC", given_route(ours(), kind=GRPC), (BY_QUERY,), Why.UNSUPPORTED, ""),
    ("no rule of ours", given_route(others(headers(x="1"))), (OPT_IN,), Why.ADDS_NOTHING, ""),
    ("nothing asked for", given_route(ours()), (), Why.ADDS_NOTHING, ""),
    ("an entry that asks for nothing", given_route(ours()), (OPT_IN, Condition()), Why.ADDS_NOTHING, ""),
    (
        "a rule in front for just these",
        given_route(others(headers(h="1"), name="p"), ours()),
        (OPT_IN,),
        Why.ADDS_NOTHING,
        "p",
    ),
    (
        "a prefix rewritten, two matches",
        given_route(ours(path("/a"), filters=[REWRITE])),
        (OPT_IN, BY_QUERY),
        Why.REWRITES_PREFIX,
        "#0",
    ),
    (
        "17 rules",
        given_route(ours(), *[others(headers(x=str(n))) for n in range(15)], ours(path("/a"))),
        (OPT_IN,),
        Why.TOO_MANY,
        "",
    ),
    ("65 matches", given_route(ours(*[path(f"/{n}") for n in range(33)])), (OPT_IN, BY_QUERY), Why.TOO_MANY, "#0"),
    (
        "129 matches of all",
        given_route(*[ours(*[path(f"/{n}/{m}") for m in range(33)]) for n in range(2)]),
        (OPT_IN,),
        Why.TOO_MANY,
        "",
    ),
    ("17 headers", given_route(ours(headers(**{f"x{n}": "1" for n in range(16)}))), (OPT_IN,), Why.TOO_MANY, "#0"),
    (
        "17 query parameters",
        given_route(ours(query(**{f"x{n}": "1" for n in range(16)}))),
        (BY_QUERY,),
        Why.TOO_MANY,
        "#0",
    ),
    ("17 filters", given_route(ours(filters=[{"type": "X"}] * 17)), (OPT_IN,), Why.TOO_MANY, "#0"),
]


@pytest.mark.parametrize(("case", "document", "asked_for", "why", "key"), REFUSALS, ids=[case for case, *_ in REFUSALS])
def test_what_could_go_wrong_is_refused_beforehand(
    case: str, document: Json, asked_for: tuple[Condition, ...], why: Why, key: str
) -> None:
    """With a reason of its own, the rule that stands in the way, and a sentence that says what to do."""
    found = asked(document, *asked_for)
    assert isinstance(found, Refused), case
    assert (found.why, found.rule) == (why, key)
    assert ";" in found.message or why is Why.ADDS_NOTHING
    if key and not key.startswith("#"):
        assert f"rule {key}" in found.message


def test_no_two_rules_get_one_name() -> None:
    """Where somebody gave the name of the copy to another rule, they are told which."""
    document = given_route(ours(name="shop"))
    found = asked(document, OPT_IN)
    assert not isinstance(found, Refused)
    document["spec"]["rules"].append(others(path("/other"), name=found[0].rule["name"]))
    refused = asked(document, OPT_IN)
    assert isinstance(refused, Refused)
    assert refused.why is Why.TOO_MANY
    assert found[0].rule["name"] in refused.message


def test_who_knows_the_gateway_may_allow_regular_expressions() -> None:
    """Then neither those of our rules nor those of others are in the way, and nothing else is let through with them."""
    document = given_route(ours(REGEX), others(path("/b.*", "RegularExpression")))
    found = asked(document, OPT_IN, allow_regex_paths=True)
    assert not isinstance(found, Refused)
    assert found[0].rule["matches"] == [REGEX | headers(H="1")]
    slash = given_route(others(path("/a/")), ours(path("/a"), REGEX))
    refused = asked(slash, OPT_IN, allow_regex_paths=True)
    assert isinstance(refused, Refused)
    assert refused.why is Why.UNDECIDABLE


def test_rules_that_are_alike_need_one_copy() -> None:
    """The second of two rules with the same matches serves nobody, and neither would its copy."""
    found = asked(given_route(ours(path("/a")), ours(path("/a"), timeouts={"request": "9s"})), OPT_IN)
    assert not isinstance(found, Refused)
    assert len(found) == 1
    assert "timeouts" not in found[0].rule
