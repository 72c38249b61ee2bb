"""What the tests do not take over from whoever starts them: a terminal's width, colours, a cluster, settings of a controller.

A test that prints in 80 columns on one machine and in 100 on the next passes on one of them. So the session, its workers and every
process that a test starts run without these variables; a test that is about one sets it.
"""

from __future__ import annotations

from collections.abc import MutableMapping

LOOKS = (
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)
"""What changes how something is printed."""

WHERE = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
"""A cluster that is not the tests' own. Theirs is named by CANARY_TEST_KUBECONFIG."""

SETTINGS = "CANARY_"
"""How the variables of the program's options begin."""

OF_TESTS = (
    "CANARY_TEST_KUBECONFIG",
    "CANARY_TESTS_BESIDE",
    "CANARY_HYPOTHESIS",
    "CANARY_UPDATE_SNAPSHOTS",
    "CANARY_PROMETHEUS",
    "CANARY_PROMTOOL",
    "CANARY_TRAEFIK",
    "CANARY_GRAPHITE",
    "CANARY_INFLUXD",
)
"""Those that are for tests, or name the programs on which they run."""


def forget(environment: MutableMapping[str, str]) -> None:
    """Take out of `environment` what could change what a test sees."""
    for name in [*environment]:
        setting = name.startswith(SETTINGS) and name not in OF_TESTS
        if setting or name in LOOKS or name in WHERE:
            del environment[name]
