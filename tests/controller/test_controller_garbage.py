"""When Python looks for garbage, as a process of its own has it."""

from __future__ import annotations

import asyncio
import json
import sys

IMPORTED = """
import gc, json
from canary.controller import garbage
garbage.spare()
looked = []
gc.callbacks.append(lambda phase, info: looked.append(phase))
import canary.controller.run
among_imports = len(looked)
garbage.start()
frozen, at_a_start = gc.get_freeze_count(), (gc.isenabled(), gc.get_threshold()[0])
garbage.settle()
print(json.dumps([among_imports, frozen > 50_000, *at_a_start, gc.isenabled(), gc.get_threshold() == garbage.USUAL]))
"""


async def test_nobody_looks_for_garbage_among_imports_and_everybody_does_afterwards() -> None:
    """What is imported stays, and is looked into neither while it is imported nor ever after; what comes then is, in time."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTED, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert json.loads(out) == [0, True, True, 50_000, True, True]
