"""Prints what is made from the models: `make crds`."""

from __future__ import annotations

import argparse
from pathlib import Path

from canary.model import crd, jsonschema


def main() -> None:
    """Write every CRD into a folder, and the JSON Schemas for editors into its folder `schema`."""
    parser = argparse.ArgumentParser(description="Print the CRDs and the JSON Schemas from the models.")
    parser.add_argument("folder", nargs="?", default="crds", type=Path, help="where to write them (default: crds)")
    folder: Path = parser.parse_args().folder
    (folder / "schema").mkdir(parents=True, exist_ok=True)
    for name, document in crd.crds().items():
        (folder / name).write_text(crd.render(document), encoding="utf-8")
    for kind, document in jsonschema.schemas().items():
        path = folder / "schema" / jsonschema.file_name(kind)
        path.write_text(jsonschema.render(document), encoding="utf-8")


if __name__ == "__main__":
    main()
