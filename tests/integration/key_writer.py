"""Adds keys to the documents of containers, one at a time; runs on a host.

``python3 key_writer.py DIR FIRST LAST PACE CONTAINER...`` writes each document in DIR
first with FIRST keys, then with one more each PACE seconds, until it has LAST keys.
They are ``user.key00000`` and so on.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def write(directory: Path, container: str, count: int) -> None:
    """Write the document of a container with ``count`` keys.

    Its uuid says that it is the same container as before a restart.
    """
    keys = {f"user.key{number:05}": "v" for number in range(count)}
    uuid = f"00000000-0000-4000-8000-{container.encode().hex():0>12}"
    config = {"volatile.uuid": uuid, "user.answer": "42", **keys}
    path = directory / f".{container}"
    path.write_text(json.dumps({"config": config}))
    path.chmod(0o644)
    path.rename(directory / f"{container}.json")


if __name__ == "__main__":
    directory, first, last, pace, *containers = sys.argv[1:]
    for count in range(int(first), int(last) + 1):
        for container in containers:
            write(Path(directory), container, count)
        time.sleep(float(pace))
