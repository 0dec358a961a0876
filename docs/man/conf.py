"""Build the manual pages of devlxd: ``sphinx-build -b man -c docs/man docs OUTPUT``.

The same pages are part of the documentation, see `docs/conf.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import devlxd

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "devlxd"
release = version = devlxd.__version__
extensions = ["command_line"]
root_doc = "man/devlxd"
include_patterns = ["man/*.rst"]
man_pages = [
    ("man/devlxd", "devlxd", "manage and watch the guest API of LXD", [], 1),
    ("man/devlxd-yaml", "devlxd.yaml", "configuration of the service devlxd", [], 5),
    ("man/devlxd-service", "devlxd", "guest API of LXD as a service", [], 8),
]
