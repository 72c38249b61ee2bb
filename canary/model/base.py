"""What every model of the API shares: frozen, strict about names, camelCase on the wire; and no larger than what it says."""

from __future__ import annotations

import operator
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Nobody(set[str]):
    """No names, whatever is added to them: `model_copy(update=…)` does that."""

    add = update = operator.not_  # type: ignore[assignment]  # takes what is added, and forgets it
    __copy__ = set.copy


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

    nobody: ClassVar[set[str]] = _Nobody()

    # Pydantic's own slot of that name is never filled: it sets what it has collected, and `is_` does nothing with it. No call of
    # ours is in the way of any of this, so it costs no time.
    __pydantic_fields_set__ = property(operator.attrgetter("nobody"), operator.is_)  # type: ignore[arg-type]
