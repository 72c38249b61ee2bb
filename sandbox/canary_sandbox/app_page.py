"""What replicas counted, in Prometheus' text format: at /metrics of each of them, and for all of them on one page (`app_metrics`)."""

from __future__ import annotations

from collections.abc import Mapping

METRIC = "app_requests_total"
HEAD = f"""# HELP {METRIC} Requests that replicas have answered; mirrored="true": copies, as far as a replica can tell.
# TYPE {METRIC} counter
"""


def counted(finished: Mapping[tuple[bool, bool], int], **labels: str) -> list[str]:
    """A line for each kind of request: `mirrored` is true or false, `outcome` ok or failed."""
    return [
        line({**labels, "mirrored": "true" if mirrored else "false", "outcome": "ok" if succeeded else "failed"}, count)
        for (mirrored, succeeded), count in finished.items()
    ]


def line(labels: Mapping[str, str], value: int) -> str:
    """One line of Prometheus' text format."""
    pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    return f"{METRIC}{{{pairs}}} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
