# -*- test-case-name: tests.commands.test_check -*-
"""The options that say what a devlxd serves, for commands that check documents."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devlxd.commands.served import Served

#: The configuration of the service that a package installs.
CONFIG = Path("/etc/devlxd.yaml")


def define_served_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is served."""
    parser.add_argument(
        "--dialect",
        action="append",
        default=[],
        metavar="NAME",
        help="a dialect that is served; may be repeated. Keys that no served dialect "
        "shows to guests are faults (default: those of listen in the configuration, "
        "or the default of twistd devlxd)",
    )
    parser.add_argument(
        "--switch",
        metavar="KEY",
        help="the config key that switches the API off, as for twistd devlxd",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration of the devlxd that serves the containers (default: "
        f"{CONFIG}, if it exists)",
    )


def served_by(arguments: argparse.Namespace) -> Served:
    """Return what the devlxd serves that the arguments describe.

    :raises CommandError: if a dialect is unknown, or the configuration has a mistake.
    """
    # The other commands do not need Twisted, which this imports.
    from devlxd.commands.served import Served  # noqa: PLC0415

    config: Path | None = arguments.config
    if config is None and os.access(CONFIG, os.R_OK):
        config = CONFIG
    return Served.of(config, arguments.dialect, arguments.switch)
