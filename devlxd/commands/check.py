# -*- test-case-name: tests.commands.test_check -*-
"""``devlxd check``: finding what is wrong in a directory of documents."""

from __future__ import annotations

import argparse
from pathlib import Path

from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import json_text, printable, write
from devlxd.commands.parsers import Subparsers


def define(commands: Subparsers) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check",
        help="check the documents of containers",
        description="Check the documents of all containers in a directory, and print "
        "a line FILE:LINE: TEXT for each fault: what devlxd would refuse to read, and "
        "what is probably a mistake. The text says what to write instead, and never "
        "contains a value. No devlxd has to run.",
        epilog="Exit status: 0 if there is no fault, 1 if there is one or the "
        "directory cannot be read.",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="the directory of the documents (default: that of the first --dialect)",
    )
    parser.add_argument(
        "--dialect",
        action="append",
        default=[],
        metavar="NAME",
        help="a dialect that is served; may be repeated. Keys that no served dialect "
        "shows to guests are faults (default: the default of twistd devlxd)",
    )
    parser.add_argument(
        "--switch",
        metavar="KEY",
        help="the config key that switches the API off, as for twistd devlxd",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one object as JSON, for programs"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print the faults of a directory."""
    # The other commands need neither attrs nor Twisted.
    import attrs  # noqa: PLC0415

    from devlxd.access_keys import access_keys  # noqa: PLC0415
    from devlxd.containers.directory_check import check_directory  # noqa: PLC0415
    from devlxd.guestapi.dialects import DEFAULT_DIALECT, DIALECTS  # noqa: PLC0415

    for name in arguments.dialect:
        if name not in DIALECTS:
            known = ", ".join(DIALECTS)
            text = f"there is no dialect {printable(name)}; the dialects are {known}"
            raise CommandError(text, ExitStatus.USAGE)
    served = [DIALECTS[name] for name in arguments.dialect] or [DEFAULT_DIALECT]
    if arguments.switch is not None:
        served = [attrs.evolve(each, switch=arguments.switch) for each in served]
    directory = arguments.directory or served[0].containers
    try:
        checked = check_directory(directory, access_keys(served))
    except OSError as error:
        raise CommandError(f"{printable(directory)}: {error.strerror}") from None
    if arguments.json:
        faults = [attrs.asdict(fault) for fault in checked.faults]
        answer = {"directory": str(directory), "containers": checked.containers}
        write(json_text({**answer, "faults": faults}))
    elif checked.faults:
        write("".join(f"{fault}\n" for fault in checked.faults))
    else:
        noun = "container" if checked.containers == 1 else "containers"
        count = f"{checked.containers} {noun}"
        write(f"{printable(directory)}: no faults in the documents of {count}\n")
    return ExitStatus.BAD if checked.faults else ExitStatus.OK
