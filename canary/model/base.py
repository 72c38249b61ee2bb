"""What every model of the API shares: frozen, strict about names, camelCase on the wire; and no larger than what it says."""

from __future__ import annotations

import operator
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Nobody(frozenset[str]):
    """No names, whatever is added to them: `model_copy(update=…)` does that."""

    def update(self, *names: Iterable[str]) -> None:
        """Forget them."""


_UNKEPT = _Nobody()


class ApiModel(BaseModel):
    """A frozen value that forbids unknown fields and speaks camelCase JSON.

    Which fields somebody has set is not kept (`model_fields_set` is empty, `exclude_unset` leaves out everything): nothing here asks
    for it, and a set of names in each value is half of the memory that a status or a spec takes. docs/decisions/0085.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        ser_json_inf_nan="null",
    )

    # Pydantic's own slot of that name is never filled: it sets what it has collected, and `is_` does nothing with it, at no cost.
    __pydantic_fields_set__ = property(lambda _: _UNKEPT, operator.is_)  # type: ignore[arg-type]
