"""Graphite as its own program, run by the Python that `graphite_kit` found: `graphite_server.py FOLDER PORT`.

FOLDER has `series.json` and the settings; series become files of whisper, as carbon would have written them.
"""

import json
import sys
from pathlib import Path
from wsgiref.simple_server import make_server

import whisper
from graphite.wsgi import application


def main(folder: Path, port: int) -> None:
    for name, points in json.loads((folder / "series.json").read_text()).items():
        path = folder.joinpath("whisper", *name.split(".")).with_suffix(".wsp")
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(60, 1440)])
        whisper.update_many(str(path), points)
    make_server("127.0.0.1", port, application).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
