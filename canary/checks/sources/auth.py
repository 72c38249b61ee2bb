"""Which Secret a question is asked with. Never what is in it: sources are kept, compared and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from canary.model import auth as model


@dataclass(frozen=True, slots=True)
class Auth:
    """A Secret by name, and which of its keys are values of headers: (header, key).

    `platform`: it is named by the platform team, in a ClusterCheckTemplate, and lies in the namespace of the controller. Any other
    lies in that of the Rollout: `namespace`, empty as declared. Neither can be said by whoever writes a check.
    """

    secret: str
    headers: tuple[tuple[str, str], ...] = ()
    platform: bool = False
    namespace: str = ""
    signs: bool = False

    @classmethod
    def of(cls, declared: model.Auth | None) -> Self | None:
        if declared is None:
            return None
        return cls(declared.secret_ref.name, tuple((one.name, one.key) for one in declared.headers))

    @property
    def of_platform(self) -> Auth:
        """The same, named by the platform team."""
        return replace(self, platform=True)

    def rendered(self, variables: Mapping[str, Any]) -> Auth:
        """As it is asked for on behalf of a Rollout."""
        return self if self.platform else replace(self, namespace=str(variables["namespace"]))


def rendered(auth: Auth | None, variables: Mapping[str, Any]) -> Auth | None:
    """Of a question that may name none."""
    return None if auth is None else auth.rendered(variables)
