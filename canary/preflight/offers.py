"""What a gateway offers, by who can tell: its GatewayClass, else the platform, else what was seen of that very version.

And how long its data plane may take to follow what it reports, which only the platform can tell.

A gateway that does not do what a route asks of it need not say so: it may accept the route and answer every request of it
with 500. So what nobody tells counts as not offered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from canary.errors import ConfigError
from canary.model.values import Duration
from canary.preflight.objects import Absence, GatewayClass
from canary.routes.features import Offered, Source

ANY = "*"
"""In what the platform declares: every class, or mesh, that is not named; also one that may not be read."""

SETTLE = timedelta(seconds=2)
"""How long a data plane may take to follow, where the platform declares nothing: the longest that was seen."""
LONGEST_SETTLE = timedelta(minutes=10)
"""What the platform may declare at most."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    features: tuple[Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")], ...] | None = None
    settleTime: Duration | None = None  # noqa: N815 # as the file has it

    @field_validator("settleTime")
    @classmethod
    def _bounded(cls, value: Duration | None) -> Duration | None:
        if value is not None and value.delta > LONGEST_SETTLE:
            raise ValueError(
                f"{value} is longer than {LONGEST_SETTLE.total_seconds():.0f}s, and no step would end sooner"
            )
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.features is None and self.settleTime is None:
            raise ValueError("it declares nothing; give features, settleTime or both")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gatewayClasses: dict[str, _Entry] = {}  # noqa: N815 # as the file has it
    meshes: dict[str, _Entry] = {}


@dataclass(frozen=True, slots=True)
class Platform:
    """What the platform declares of its gateways, by the name of the GatewayClass, and of meshes by their controllerName.

    Features, and settle times: each where it is declared.
    """

    classes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    meshes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    class_settle: Mapping[str, timedelta] = field(default_factory=dict)
    mesh_settle: Mapping[str, timedelta] = field(default_factory=dict)

    def settle_of_class(self, name: str) -> timedelta:
        """The settle time of the gateways of a class; an empty name: nobody knows of which."""
        return self.class_settle.get(name, self.class_settle.get(ANY, SETTLE))

    def settle_of_mesh(self, controller: str) -> timedelta:
        """The settle time of a mesh, by its controllerName."""
        return self.mesh_settle.get(controller, self.mesh_settle.get(ANY, SETTLE))

    @property
    def longest_settle(self) -> timedelta:
        """Of whatever gateway or mesh it be."""
        return max([SETTLE, *self.class_settle.values(), *self.mesh_settle.values()])

    @classmethod
    def read(cls, text: str) -> Platform:
        """Read the file of `--gateway-features`.

        Raises:
            ConfigError: it is no YAML, or says something that nobody would heed.

        """
        try:
            found = _File.model_validate(yaml.safe_load(text) or {})
        except yaml.YAMLError as error:
            raise ConfigError(f"--gateway-features: no YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            words = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"--gateway-features: {place}: {words}") from error
        classes, meshes = found.gatewayClasses, found.meshes
        return cls(_features(classes), _features(meshes), _settle(classes), _settle(meshes))


def _features(entries: Mapping[str, _Entry]) -> dict[str, frozenset[str]]:
    return {name: frozenset(entry.features) for name, entry in entries.items() if entry.features is not None}


def _settle(entries: Mapping[str, _Entry]) -> dict[str, timedelta]:
    return {name: entry.settleTime.delta for name, entry in entries.items() if entry.settleTime is not None}


NOTHING_DECLARED = Platform()


def by_class(name: str, there: GatewayClass | Absence, platform: Platform) -> Offered:
    """What gateways of a class offer. `name` is empty where not even the class is known."""
    if isinstance(there, GatewayClass) and there.features is not None:
        return Offered(there.features, Source.PUBLISHED, name)
    declared = platform.classes.get(name, platform.classes.get(ANY))
    if declared is not None:
        return Offered(declared, Source.DECLARED, name)
    known = seen(there.controller, there.version) if isinstance(there, GatewayClass) else frozenset()
    return Offered(known, Source.SEEN if known else Source.NONE, name)


def by_mesh(controller: str, platform: Platform) -> Offered:
    """What a mesh offers, by its controllerName; nothing publishes that."""
    declared = platform.meshes.get(controller, platform.meshes.get(ANY))
    return Offered(gateway_class=controller) if declared is None else Offered(declared, Source.DECLARED, controller)


def seen(controller: str, version: str) -> frozenset[str]:
    """What this project has seen an implementation do in this version (a fact of 1.34 holds for 1.34.2); nothing without one."""
    return frozenset(
        feature
        for known, features in _facts().get(controller, {}).items()
        if version == known or version.startswith(f"{known}.")
        for feature in features
    )


@cache
def _facts() -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Features by controllerName and version."""
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in (files("canary.preflight") / "seen.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            controller, version, feature, _source = line.split(maxsplit=3)
            found[controller][version].add(feature)
    return {name: {key: frozenset(value) for key, value in of.items()} for name, of in found.items()}
