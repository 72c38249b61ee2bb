"""The comparer of the example: a command line that it takes, ports that lead to it, and no rights at all."""

from __future__ import annotations

import json
import sys

from deploy_kit import PLACEHOLDER, ROOT, load, named, run

from canary import __version__

RECORD = """
import dataclasses, json, sys
sys.argv = ["canary", *json.loads(sys.argv[1])]
import canary.comparer.run
canary.comparer.run.run = lambda settings: print(json.dumps(dataclasses.asdict(settings)))
from canary.cli.main import main
main()
"""

EXAMPLE = load(ROOT / "examples" / "mirrored" / "comparer.yaml")
POD = named(EXAMPLE, "Deployment")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


def test_what_it_is_told_makes_sense() -> None:
    """The program takes the arguments, and listens where the container and the Service say."""
    settings = json.loads(run(sys.executable, "-c", RECORD, json.dumps(CONTAINER["args"])))
    app = load(ROOT / "examples" / "mirrored" / "app.yaml")
    services = {f"http://{one['metadata']['name']}:8080" for one in app if one["kind"] == "Service"}
    assert {settings["stable"], settings["canary"]} == services
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    listens = {"http": settings["listen"], "results": settings["admin_listen"]}
    assert {name: int(address.rpartition(":")[2]) for name, address in listens.items()} == ports
    service = named(EXAMPLE, "Service")["spec"]
    assert {port["name"]: port["port"] for port in service["ports"]} == ports
    assert service["selector"].items() <= POD["metadata"]["labels"].items()
    assert CONTAINER["image"] == f"{PLACEHOLDER}:{__version__}"


def test_it_has_no_rights() -> None:
    """No token, no root, nothing to write to, no capability: what the restricted Pod Security Standard asks for, and more."""
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in POD["spec"]
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert CONTAINER["resources"]["limits"]["memory"]
