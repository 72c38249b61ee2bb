"""Where the hostnames of a route and of a listener meet."""

from __future__ import annotations


def meet(route: str, listener: str) -> bool:
    """Whether some host is meant by both.

    `*.example.org` means every host below example.org, however deep, and not example.org itself; an empty hostname means any.
    """
    one, other = route.lower(), listener.lower()
    if not one or not other or one == other:
        return True
    if one.startswith("*.") and other.startswith("*."):
        return one[1:].endswith(other[1:]) or other[1:].endswith(one[1:])
    if one.startswith("*."):
        return other.endswith(one[1:])
    return other.startswith("*.") and one.endswith(other[1:])
