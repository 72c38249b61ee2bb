"""The results of a comparer as a source: what its replicas have counted of the mirrored requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.model.checks import MirroredAnswers


@dataclass(frozen=True, slots=True)
class Comparer:
    """Whom to ask: the Service that the steps mirror to. Empty as declared, since a check does not name it."""

    PROVIDER: ClassVar[str] = "the comparer"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("mirrored",)

    auth: ClassVar[None] = None

    service: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, declared: MirroredAnswers) -> Self:  # noqa: ARG003 - as every source
        return cls()

    @property
    def text(self) -> str:
        return f"results of comparer {self.service}" if self.service else "results of the comparer"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Comparer], ...]:
        """Nothing that could be parsed, or asked of anybody beforehand."""
        return ()

    def names(self) -> frozenset[str]:
        return frozenset()

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        named = variables.get("comparer")
        return self if named is None else replace(self, service=named["service"], namespace=named["namespace"])
