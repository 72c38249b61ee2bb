"""What a gateway offers, by who can tell: its GatewayClass, else the platform, else what was seen of that very version.

A gateway that does not do what a route asks of it need not say so: it may accept the route and answer every request of it
with 500. So what nobody tells counts as not offered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from canary.errors import ConfigError
from canary.preflight.objects import Absence, GatewayClass
from canary.routes.features import Offered, Source

ANY = "*"
"""In what the platform declares: every class, or mesh, that is not named; also one that may not be read."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    features: tuple[Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")], ...]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gatewayClasses: dict[str, _Entry] = {}  # noqa: N815 # as the file has it
    meshes: dict[str, _Entry] = {}


@dataclass(frozen=True, slots=True)
class Platform:
    """What the platform declares of its gateways: features by the name of the GatewayClass, of meshes by their controllerName."""

    classes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    meshes: Mapping[str, frozenset[str]] = field(default_factory=dict)

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
            raise ConfigError(f"--gateway-features: {place}: {first['msg']}") from error
        of = {name: frozenset(entry.features) for name, entry in found.gatewayClasses.items()}
        return cls(of, {name: frozenset(entry.features) for name, entry in found.meshes.items()})


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
