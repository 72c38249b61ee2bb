"""What a healthy installation looks like: judgements over objects as they were read. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from canary.cli.ask import written_at
from canary.decide.reasons import ABORTED
from canary.kube import HTTPROUTES, ROUTES
from canary.model.crd import crds
from canary.model.rollout import VERSION
from canary.model.times import parse_time
from canary.view.rollout import view
from canary.view.words import counted, listing, span

Json = dict[str, Any]

SKEW = timedelta(seconds=5)
"""A clock that is off by more makes ages and remaining times wrong in what the CLI prints."""
OVERDUE = timedelta(minutes=1)
"""A controller that runs answers within seconds."""
FRESH = timedelta(minutes=5)

BUNDLE = "gateway.networking.k8s.io/bundle-version"
CHANNEL = "gateway.networking.k8s.io/channel"


CONTROLLER = "controller"
"""The name of the line about it."""


class Level(StrEnum):
    """How it stands; `doubt` is for what nobody can tell, or what need not be."""

    OK = "ok"
    DOUBT = "doubt"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line: what was looked at, how it stands, and what to do."""

    name: str
    level: Level
    message: str
    advice: str = ""
    refused: bool = False
    """The server does not know who asks, so it was asked nothing else."""


def clock(server: datetime, before: datetime, after: datetime) -> Diagnosis:
    """Compare the Date of an answer, in whole seconds, with our time before and after asking."""
    # The server's time is somewhere in its second, and ours somewhere between the two.
    ahead, late = server - after, before - (server + timedelta(seconds=1))
    if ahead > SKEW or late > SKEW:
        words = f"{span(ahead)} ahead of" if ahead > SKEW else f"{span(late)} behind"
        advice = "synchronise the clocks (NTP): ages and remaining times are wrong by that much"
        return Diagnosis("clock", Level.DOUBT, f"the API server's clock is {words} this machine's", advice)
    return Diagnosis("clock", Level.OK, "in step with the API server's")


def definitions(installed: Mapping[str, Json]) -> Iterator[Diagnosis]:
    """Our CRDs, by name, against those that this version prints."""
    advice = "apply this version's: `kubectl apply -f crds/`"
    for wanted in crds().values():
        name, kind = wanted["metadata"]["name"], wanted["spec"]["names"]["kind"]
        label = f"CRD {kind}"
        found = installed.get(name)
        if found is None:
            yield Diagnosis(label, Level.BROKEN, f"{name} is not installed", advice)
            continue
        conditions = {item.get("type"): item for item in (found.get("status") or {}).get("conditions") or ()}
        established = conditions.get("Established") or {}
        if established.get("status") != "True":
            words = str(established.get("message") or "the API server has not said Established")
            yield Diagnosis(label, Level.BROKEN, f"{name} is not served: {words}", advice)
            continue
        versions = [item for item in found["spec"]["versions"] if item["name"] == VERSION]
        if not versions:
            there = listing([str(item["name"]) for item in found["spec"]["versions"]])
            yield Diagnosis(label, Level.BROKEN, f"{name} has {there}, and no {VERSION}", advice)
            continue
        places = list(differences(_comparable(wanted["spec"]["versions"][0]), _comparable(versions[0])))
        if places:
            more = f" and {counted(len(places) - 3, 'more place')}" if len(places) > 3 else ""
            words = f"{name} differs from this version's in {', '.join(places[:3])}{more}"
            yield Diagnosis(label, Level.DOUBT, words, f"{advice}, or use the CLI of the installed version")
        else:
            yield Diagnosis(label, Level.OK, f"{name} is this version's")


def _comparable(version: Json) -> Json:
    return {key: _lean(version.get(key)) for key in ("served", "storage", "schema", "subresources")}


def _lean(value: Any) -> Any:
    """A schema without what the API server adds or drops: what is empty or false may as well be absent."""
    if isinstance(value, dict):
        members = {key: _lean(member) for key, member in value.items()}
        return {
            key: member for key, member in members.items() if member not in ({}, [], None, False) or key == "default"
        }
    if isinstance(value, list):
        return [_lean(item) for item in value]
    return value


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """The places, such as `schema.openAPIV3Schema.properties.spec`, in which two documents differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in [*wanted, *(name for name in found if name not in wanted)]:
            below = f"{path}.{name}" if path else name
            if name not in wanted or name not in found:
                yield below
            else:
                yield from differences(wanted[name], found[name], below)
    elif wanted != found:
        yield path


def gateway_api(installed: Mapping[str, Json]) -> Diagnosis:
    """The Gateway API's definitions, by name: without any kind of route there is nothing to do, and HTTPRoute has to be v1."""
    label, http = "Gateway API", HTTPROUTES.definition
    known = [resource.definition for resource in ROUTES.values() if resource.definition in installed]
    if not known:
        return Diagnosis(
            label, Level.BROKEN, f"{http} is not installed", "install the Gateway API's CRDs, v1.0 or newer"
        )
    found = installed[known[0]]
    versions = [str(item["name"]) for item in found["spec"]["versions"] if item.get("served")]
    if known[0] == http and "v1" not in versions:
        words = f"HTTPRoute is served as {listing(versions) or 'nothing'}, and canary needs v1"
        return Diagnosis(label, Level.BROKEN, words, "install the Gateway API's CRDs, v1.0 or newer")
    kinds = sorted(
        f"{item['spec']['names']['kind']} {'/'.join(str(v['name']) for v in item['spec']['versions'] if v.get('served'))}"
        for key, item in installed.items()
        if key.endswith(".gateway.networking.k8s.io")
    )
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    bundle = str(annotations.get(BUNDLE) or "of no stated version")
    channel = f" ({annotations[CHANNEL]})" if annotations.get(CHANNEL) else ""
    missing = "" if "referencegrants.gateway.networking.k8s.io" in installed else "; without ReferenceGrant"
    return Diagnosis(label, Level.OK, f"{bundle}{channel}: {', '.join(kinds)}{missing}")


@dataclass(frozen=True, slots=True)
class Right:
    """Something an app team does. `needed` for everybody; without it the CLI is of no use."""

    verb: str
    group: str
    resource: str
    needed: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def route_rights(kinds: Iterable[str]) -> Iterator[Right]:
    """What an app team needs of the kinds of route that its Rollouts name."""
    for kind in kinds:
        yield from (Right(verb, ROUTES[kind].group, ROUTES[kind].plural) for verb in ("get", "list"))


RIGHTS = (
    *(Right(verb, "canary.dev", "rollouts", needed=True) for verb in ("get", "list", "watch", "patch")),
    *(Right(verb, "canary.dev", "rollouts") for verb in ("create", "update", "delete")),
    *(Right(verb, "canary.dev", "checktemplates") for verb in ("list", "create", "patch")),
    Right("list", "canary.dev", "clusterchecktemplates"),
    *route_rights([HTTPROUTES.kind]),
    *(Right(verb, "apps", "deployments") for verb in ("get", "list")),
    Right("list", "", "services"),
    Right("list", "", "events"),
)


def rights(allowed: Mapping[Right, bool], namespace: str) -> Diagnosis:
    """What the user may do in a namespace."""
    name = "your rights"
    lacking = [right for right, yes in allowed.items() if not yes]
    needed = [str(right) for right in lacking if right.needed]
    if needed:
        words = f"in namespace {namespace} you may not {listing([*needed], 'or')}"
        return Diagnosis(name, Level.BROKEN, words, "ask for the role that lets app teams edit Rollouts")
    if lacking:
        words = f"in namespace {namespace} you may look and steer, but not {listing([str(right) for right in lacking], 'or')}"
        return Diagnosis(name, Level.DOUBT, words, "ask for them if you need them")
    return Diagnosis(name, Level.OK, f"all that an app team needs in namespace {namespace}")


def controller(rollouts: Sequence[Json], now: datetime) -> Diagnosis:
    """Signs of life, from what it wrote. An idle controller writes nothing, so silence proves nothing."""
    name = CONTROLLER
    if not rollouts:
        words = "there is no Rollout here to tell by whether it runs"
        return Diagnosis(name, Level.DOUBT, words, "look at its Deployment")
    late = [said for rollout in rollouts if (said := _waiting(rollout, now))]
    if late:
        more = f" (and {len(late) - 1} more)" if len(late) > 1 else ""
        advice = "is it running, and does it watch this namespace? Look at its Deployment and its log"
        return Diagnosis(name, Level.BROKEN, f"{late[0]}{more}", advice)
    written = max((at for rollout in rollouts if (at := _written(rollout))), default=None)
    if written is None:
        return Diagnosis(name, Level.DOUBT, "it has written no status yet", "wait a moment, then look again")
    ago = now - written
    if ago <= FRESH:
        return Diagnosis(name, Level.OK, f"wrote a status {span(ago)} ago; nothing waits for it")
    words = f"nothing waits for it; it wrote last {span(ago)} ago, and an idle controller writes nothing"
    return Diagnosis(name, Level.DOUBT, words, "to be sure, look at its Deployment, or leave a request on a Rollout")


def _waiting(rollout: Json, now: datetime) -> str:
    """What has waited for the controller for too long."""
    seen = view(rollout)
    subject = f"Rollout {seen.namespace}/{seen.name}"
    last = seen.status.last_request
    if seen.pending is not None and (last is None or seen.pending.id != last.id):
        since = written_at(rollout)
        if since is not None and now - since > OVERDUE:
            return f"the request {seen.pending.verb!r} on {subject} has waited for {span(now - since)}"
    if seen.current and seen.phase:
        return ""
    changed = _changed(rollout) or seen.created
    if changed is None or now - changed <= OVERDUE:
        return ""
    what = (
        "has no status"
        if not seen.phase
        else f"is at generation {seen.generation}, its status at {seen.status.observed_generation}"
    )
    return f"{subject} {what}, {span(now - changed)} after it was written"


def _changed(rollout: Json) -> datetime | None:
    """When the spec was last written, as the API server recorded it."""
    entries = (rollout.get("metadata") or {}).get("managedFields") or ()
    return _newest(entry for entry in entries if "f:spec" in (entry.get("fieldsV1") or {}))


def _written(rollout: Json) -> datetime | None:
    """When the status was last written."""
    entries = (rollout.get("metadata") or {}).get("managedFields") or ()
    return _newest(entry for entry in entries if "f:status" in (entry.get("fieldsV1") or {}))


def _newest(entries: Iterator[Json]) -> datetime | None:
    times = []
    for entry in entries:
        try:
            times.append(parse_time(entry.get("time")))
        except ValueError:
            continue
    return max(times, default=None)


def troubled(rollouts: Sequence[Json], program: str = "canary") -> Iterator[Diagnosis]:
    """Rollouts that go on only if somebody does something.

    A release that was rolled back is no fault of the installation, and one that somebody aborted is nobody's.
    """
    for rollout in rollouts:
        seen = view(rollout)
        run = seen.status.run
        stalled = next((item for item in seen.status.conditions if item.type == "Stalled"), None)
        stuck = stalled is not None and stalled.status == "True"
        failed = seen.phase == "RolledBack" and run is not None and run.reason != ABORTED
        if seen.phase == "RolledBack" and not failed:
            continue
        if not (seen.phase == "Invalid" or stuck or failed):
            continue
        where = f"{seen.name} -n {seen.namespace}"
        subject = subject_of(seen.namespace, seen.name)
        words = seen.status.message or (stalled.message if stalled else "")
        if failed:
            advice = f"once the cause is gone, `{program} retry {where}` tries it again, or deploy another revision"
            yield Diagnosis(subject, Level.DOUBT, words or "rolled back", advice)
            continue
        kind = "Invalid" if seen.phase == "Invalid" else f"Stalled ({stalled.reason if stalled else ''})"
        yield Diagnosis(subject, Level.BROKEN, f"{kind}: {words}", f"`{program} explain {where}` says more")


def untroubled(rollouts: Sequence[Json], found: Iterable[Diagnosis]) -> Iterator[Diagnosis]:
    """One line that says how many Rollouts there are, if nothing in `found`, all that was told, is against any of them.

    A controller that does not do what they ask for is against all of them.
    """
    subjects = (subject_of(seen.namespace, seen.name) for seen in map(view, rollouts))
    against = dict.fromkeys(subjects, (Level.DOUBT, Level.BROKEN)) | {CONTROLLER: (Level.BROKEN,)}
    if not any(item.level in against.get(item.name, ()) for item in found):
        yield Diagnosis("Rollouts", Level.OK, f"{len(rollouts)}, and nothing is known against any of them")


def subject_of(namespace: str, name: str) -> str:
    """The name of each line about a Rollout."""
    return f"Rollout {namespace}/{name}"


def server_version(answer: Json) -> str:
    """The version of an API server, as it says it itself."""
    return str(answer.get("gitVersion") or json.dumps(answer))
