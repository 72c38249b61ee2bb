"""A few places that many tenants share: for work that cannot be interrupted once it has begun, and may be slow.

A tenant is a Rollout, by namespace and name. A place that comes free goes to the namespace that was served longest ago, in
it to the Rollout that was served longest ago, in that to the topic (a query, say) that was. So fifty Rollouts of one team
wait for each other and not another team for them. Who gives up waiting and comes again has not lost its turn.

Turns alone do not help against work that lasts: what holds a place keeps it. So nobody can hold them all. A Rollout gets at
most half of the places, a namespace three quarters, and the last one that is free is for who holds none. Those that had work
of more than a second are slow until half a minute of theirs was quick, and slow ones together leave a quarter of the places
to others; those of which nothing is known yet have one place each, and leave one to those that are known to be quick. So
however many are slow, who is quick finds a place.

Where all is quick by itself (looks, writes to one API server), namespaces just take turns (`RoundRobin`). Writes are slow where
somebody's admission is: so of the places for them no namespace holds more than it leaves free (`Limit`).
"""

from __future__ import annotations

from canary.fair.limit import FairLimit, LimitClosed
from canary.fair.room import NOBODY, Pace, Place, Tenant
from canary.fair.turns import Limit, RoundRobin

__all__ = ["NOBODY", "FairLimit", "Limit", "LimitClosed", "Pace", "Place", "RoundRobin", "Tenant"]
