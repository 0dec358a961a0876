# -*- test-case-name: tests.commands.test_check -*-
"""``devlxd check``: finding what is wrong in a directory of documents."""

from __future__ import annotations

import argparse

from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import json_text, printable, write
from devlxd.commands.parsers import Subparsers
from devlxd.commands.served_options import define_served_options, served_by

#: The members of a fault in JSON.
_MEMBERS = ("file", "line", "text", "container", "breaks")


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
        metavar="DIR",
        help="the directory of the documents, or etcd:... as for twistd devlxd "
        "(default: containers in the "
        "configuration, or that of the first dialect)",
    )
    parser.add_argument(
        "--containers",
        metavar="DIR",
        help="the same as DIR",
    )
    define_served_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one object as JSON, for programs"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print the faults of a directory."""
    if arguments.directory is not None and arguments.containers is not None:
        raise CommandError("DIR and --containers are the same", ExitStatus.USAGE)
    served = served_by(arguments)
    source = served.source_named(arguments.directory or arguments.containers)
    try:
        checked = source.check_documents(served.access_keys, served.max_size)
    except ValueError as error:
        raise CommandError(printable(str(error))) from None
    if arguments.json:
        faults = [
            {name: getattr(fault, name) for name in _MEMBERS}
            for fault in checked.faults
        ]
        answer = {"directory": str(source), "containers": checked.containers}
        write(json_text({**answer, "faults": faults}))
    elif checked.faults:
        write("".join(f"{fault}\n" for fault in checked.faults))
    else:
        noun = "container" if checked.containers == 1 else "containers"
        count = f"{checked.containers} {noun}"
        write(f"{printable(str(source))}: no faults in the documents of {count}\n")
    return ExitStatus.BAD if checked.faults else ExitStatus.OK
