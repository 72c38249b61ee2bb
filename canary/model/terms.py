"""What a run has on record of what is declared besides its plan."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canary.model.base import ApiModel
from canary.model.values import Alpha, Duration


class TermsStatus(ApiModel):
    """What was declared besides the plan when the spec could last be read: it holds for as long as it cannot be. Defaults are left out."""

    accept_timeout: Annotated[Duration | None, Field(description="spec.acceptTimeout.")] = None
    unavailable_grace: Annotated[Duration | None, Field(description="spec.unavailableGrace.")] = None
    deadline: Annotated[Duration | None, Field(description="spec.deadline.")] = None
    alpha: Annotated[Alpha | None, Field(description="spec.alpha.")] = None
