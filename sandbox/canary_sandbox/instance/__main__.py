"""The supervisor as a process: `python -m canary_sandbox.instance FOLDER WISHES`, which `canary sandbox up` starts."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from canary_sandbox.instance.folder import Folder
from canary_sandbox.instance.launch import TAKEN


def main(folder: Folder, options: dict[str, object]) -> int:
    """Live in a folder; TAKEN when somebody else does."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with folder.locked() as ours:
        if not ours:
            return TAKEN
        try:
            from canary_sandbox.instance.supervisor import Options, supervise
        except ImportError as error:
            missing = f"{error.name or error} is missing; install canary-sandbox again"
            folder.report({"phase": "failed", "error": f"the sandbox needs more packages: {missing}"})
            return 1
        failure = asyncio.run(supervise(folder, Options(**options)))  # type: ignore[arg-type]  # our own JSON
        return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(Folder(Path(sys.argv[1])), json.loads(sys.argv[2])))
