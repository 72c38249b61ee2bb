"""A Job as a source: what runs is written out, and what is filled in is a word of its command, or the value of a variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.errors import RenderError
from canary.model.jobs import Amounts, JobSource

Pairs = tuple[tuple[str, str], ...]


def _amounts(declared: Amounts | None) -> Pairs:
    return () if declared is None else tuple(declared.model_dump(mode="json", exclude_none=True).items())


@dataclass(frozen=True, slots=True)
class Job:
    """A container that is to end by itself, within `timeout` seconds. `account`: its ServiceAccount; empty: none that has rights."""

    PROVIDER: ClassVar[str] = "the API server"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("job",)

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Pairs = ()
    requests: Pairs = ()
    limits: Pairs = ()
    user: int | None = None
    account: str = ""
    timeout: float = 300.0

    @classmethod
    def of(cls, declared: JobSource) -> Self:
        resources = declared.resources
        return cls(
            declared.image,
            declared.command,
            declared.args,
            tuple((one.name, one.value) for one in declared.env),
            _amounts(resources.requests if resources is not None else None),
            _amounts(resources.limits if resources is not None else None),
            declared.run_as_user,
            declared.service_account_name or "",
            declared.timeout.seconds,
        )

    @property
    def text(self) -> str:
        return " ".join(("job", self.image, *self.command, *self.args))

    @property
    def auth(self) -> Auth | None:
        return None

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Job], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        texts = (*self.command, *self.args, *(value for _, value in self.env))
        return frozenset().union(*map(names, texts))

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        def filled(place: str, text: str) -> str:
            try:
                return render(text, variables)
            except RenderError as error:
                raise RenderError(f"{place}: {error}", variable=error.variable) from error

        return replace(
            self,
            command=tuple(filled(f"command[{index}]", word) for index, word in enumerate(self.command)),
            args=tuple(filled(f"args[{index}]", word) for index, word in enumerate(self.args)),
            env=tuple((name, filled(f"env {name}", value)) for name, value in self.env),
        )
