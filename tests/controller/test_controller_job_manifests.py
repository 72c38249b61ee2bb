"""Jobs of checks as they are created: built from a few declared fields, and named for one question."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from canary.checks.sources.job import Job
from canary.controller.job_documents import LAST_WORDS, RunOf, cleaned, manifest
from canary.model.jobs import JobSource

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_is_created_gives_no_more_rights_than_the_namespace() -> None:
    """Whatever is declared: no root, no token, no volume, no way to the node."""
    declared = JobSource.model_validate(
        {"image": "x", "command": ["a"], "env": [{"name": "A", "value": "b"}], "runAsUser": 7}
    )
    made = manifest(Job.of(declared), RunOf("team", "shop", "uid", 1, NOW, "smoke"))
    pod = made["spec"]["template"]["spec"]
    assert pod.keys() == {"restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "containers"}
    assert (pod["automountServiceAccountToken"], made["spec"]["backoffLimit"]) == (False, 0)
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 7,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("rollout", ["shop", "a" * 63, "team.shop-" + "x" * 40])
def test_a_name_fits_and_is_another_one_for_another_question(rollout: str) -> None:
    """Another run, step, check, attempt or command."""
    job = Job("image", args=("a",))
    of = RunOf("team", rollout, "uid", 1, NOW, "c" * 63)
    others = (
        RunOf("team", rollout, "uid", 2, NOW, "c" * 63),
        RunOf("team", rollout, "other", 1, NOW, "c" * 63),
        RunOf("team", rollout, "uid", 1, NOW.replace(hour=13), "c" * 63),
        RunOf("team", rollout, "uid", 1, NOW, "c" * 62),
    )
    names = [manifest(job, each)["metadata"]["name"] for each in (of, *others)]
    names += [manifest(job, of, 2)["metadata"]["name"], manifest(Job("image", args=("b",)), of)["metadata"]["name"]]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 and "." not in name for name in names)


def test_last_words_are_the_last_ones() -> None:
    """On one line, and short."""
    assert cleaned("first\n" * 500 + "last").endswith("first last")
    assert len(cleaned("x" * 10_000)) == LAST_WORDS + 1
    assert cleaned("a\x00\x1b[1mb\n") == "a [1mb"
