"""The status of the routes: what each one says, what came of the share, and what was counted meanwhile."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.bounded import Count, Number, Percent, Text
from canary.model.rollout import RouteKind
from canary.model.steps import MAX_RULES
from canary.model.times import Timestamp


class SplitStatus(ApiModel):
    """The canary's share of the pair, in percent."""

    desired: Annotated[Percent, Field(description="What the step asks for.")] = 0
    written: Annotated[Percent, Field(description="What the routes say; the largest of them.")] = 0
    accepted: Annotated[Percent, Field(description="What every gateway last accepted.")] = 0
    observed: Annotated[
        Percent | None,
        Field(description="What the canary got of all that spec.traffic counted since the step settled."),
    ] = None


class TrafficStatus(ApiModel):
    """What spec.traffic counted while the routes have said what they say now."""

    about: Annotated[str, Field(max_length=64, description="Digest of what the routes say.")] = ""
    since: Annotated[Timestamp | None, Field(description="Since when every gateway has accepted that.")] = None
    read_at: Annotated[Timestamp | None, Field(description="When the counters were read last.")] = None
    canary: Annotated[Count, Field(description="The canary's counter then.")] = 0
    stable: Annotated[Count, Field(description="Stable's counter then.")] = 0
    peak_canary: Annotated[Count, Field(description="The largest value of the canary's counter.")] = 0
    peak_stable: Annotated[Count, Field(description="The largest value of stable's counter.")] = 0
    counted_canary: Annotated[Count, Field(description="What was counted at the canary.")] = 0
    counted_stable: Annotated[Count, Field(description="What was counted at stable.")] = 0
    seconds: Annotated[Count, Field(description="In so many seconds.")] = 0
    background: Annotated[
        Count | None, Field(description="What the canary got each second while the routes sent it nothing.")
    ] = None
    reason: Annotated[str, Field(max_length=64, description="Why the counters could not be read, as a constant.")] = ""
    message: Annotated[Text, Field(description="The same in words.")] = ""


class RouteStatus(ApiModel):
    """One route as the controller sees it."""

    kind: Annotated[RouteKind, Field(description="Kind of the route.")]
    name: Annotated[ObjectName, Field(description="Name of the route.")]
    generation: Annotated[int, Field(ge=0, description="Its generation when last seen.")] = 0
    about: Annotated[
        str,
        Field(
            max_length=64,
            description="Digest of the rules that this Rollout moves, and of all else in the route that is of no rule.",
        ),
    ] = ""
    about_since: Annotated[
        int,
        Field(
            ge=0,
            description="Generation from which on it has said that: gateways have to accept this one, or a later one.",
        ),
    ] = 0
    owned: Annotated[bool, Field(description="Whether this run has written it.")] = False
    share: Annotated[Number | None, Field(description="The canary's share that it says, in percent.")] = None
    shares: Annotated[
        dict[str, Number],
        Field(max_length=MAX_RULES * 4, description="The same of rules that a step names, by name."),
    ] = {}
    lowered: Annotated[
        dict[str, Number],
        Field(
            max_length=MAX_RULES * 4,
            description="The share that somebody lowered a rule to, in percent, by rule, while the run is paused: nobody else raises it "
            "again.",
        ),
    ] = {}
    resumed: Annotated[
        dict[str, Number],
        Field(
            max_length=MAX_RULES * 4,
            description="The share that a rule had when the run was resumed over it, in percent, by rule, until it is given the step's: "
            "that this is less than was written is nobody's word any more, and nobody else raises it meanwhile.",
        ),
    ] = {}
    accepted: Annotated[bool, Field(description="Whether every parent accepts what it says since aboutSince.")] = False
    overridden: Annotated[int, Field(ge=0, description="Generation in which somebody last raised the share.")] = 0
    altered: Annotated[
        int,
        Field(
            ge=0, description="Generation in which the API server keeps something else than this run wrote; 0: none."
        ),
    ] = 0
    message: Annotated[Text, Field(description="What stands in the way, if anything.")] = ""
    pair: Annotated[
        Text, Field(description="The two backends that the run moves, as `namespace/service:port`: stable, canary.")
    ] = ""
    baseline: Annotated[
        dict[str, Annotated[str, Field(max_length=32)]],
        Field(max_length=MAX_RULES * 4, description="Weights before the run, stable/canary by rule: what is restored."),
    ] = {}
    rules: Annotated[
        dict[str, Annotated[str, Field(max_length=16)]],
        Field(max_length=MAX_RULES * 4, description="What identifies these rules when they are moved: digests."),
    ] = {}
    mirrors: Annotated[
        dict[str, Annotated[str, Field(max_length=32)]],
        Field(
            max_length=MAX_RULES * 4,
            description="Share of its requests, in percent, that a rule sends copies of to the canary, as this run wrote it; 0 "
            "where it does no more.",
        ),
    ] = {}
    added: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]],
        Field(
            max_length=MAX_RULES * 2,
            description="Rules that this run added to it for requests that opt in, by their digests: + and the name that it was "
            "given, if any, or - once it was taken away.",
        ),
    ] = {}
    places: Annotated[
        dict[str, Annotated[str, Field(max_length=16)]],
        Field(
            max_length=MAX_RULES * 2,
            description="Where these rules are, or come to be, as index/number of rules: what tells one that somebody has edited.",
        ),
    ] = {}
