"""Which gateways there are to run on: those that somebody names by their programs."""

from __future__ import annotations

import os

PROGRAMS = {"contour": "CONTOUR", "envoy": "ENVOY_GATEWAY"}
"""By the word in the names of test files."""

collect_ignore_glob = [f"test_gateways_{word}*.py" for word, name in PROGRAMS.items() if not os.environ.get(name)]
