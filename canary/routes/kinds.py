"""What routes of a kind are: what their rules can have, and what a weight divides. One line per kind."""

from __future__ import annotations

from dataclasses import dataclass

from canary.model.rollout import RouteKind


@dataclass(frozen=True, slots=True)
class RouteForm:
    """`unit` is what a weight divides, in the plural; `matches` and `filters` say whether rules of the kind have any.

    `methods`: matches name HTTP methods, so that it can be told which rules only read.
    """

    unit: str
    matches: bool
    filters: bool
    methods: bool = False

    @property
    def by_connection(self) -> bool:
        """Whether a weight decides once for a whole connection: what is open stays where it is."""
        return not self.matches


FORMS: dict[RouteKind, RouteForm] = {
    RouteKind.HTTP: RouteForm("requests", matches=True, filters=True, methods=True),
    RouteKind.GRPC: RouteForm("calls", matches=True, filters=True),
    RouteKind.TLS: RouteForm("connections", matches=False, filters=False),
    RouteKind.TCP: RouteForm("connections", matches=False, filters=False),
    RouteKind.UDP: RouteForm("connections", matches=False, filters=False),
}

STICKY = (
    "has sessionPersistence, which overrides weights: a session stays with the backend that it has, so the canary may get another "
    "share than its weight says, and sessions that it has may stay there after a rollback"
)
"""Said of a rule: what its weights are not."""
