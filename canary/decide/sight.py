"""Whether anybody can tell what the canary is now, and what is declared. As long as nobody can, it is given no more than it has."""

from __future__ import annotations

from canary.decide.facts import Facts


def untold(facts: Facts) -> str:
    """Why nobody can tell what the canary runs, in words; empty: it is known, or no workload is declared."""
    if facts.unseen_canary is not None:
        return f"canary workload {facts.unseen_canary.name} cannot be seen: {facts.unseen_canary.why}"
    return facts.canary.unknown if facts.canary is not None else ""


def withheld(facts: Facts) -> str:
    """Why the canary is given no more than it has, whoever wants it to get more, in words; empty: it may be given more."""
    return facts.unread or untold(facts)
