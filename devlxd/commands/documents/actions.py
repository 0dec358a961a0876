# -*- test-case-name: tests.commands.documents.test_container -*-
"""Running the actions of ``devlxd container``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from devlxd.commands.documents import edit, keys, listing, whole
from devlxd.commands.documents.findings import print_finding
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.served_options import served_by
from devlxd.container_sources import DirectorySource
from devlxd.documents.directory import DocumentDirectory
from devlxd.documents.errors import (
    DocumentsError,
    FaultyError,
    InvalidNameError,
    NoContainerError,
)

_ACTIONS: dict[str, Callable[[argparse.Namespace, DocumentDirectory], None]] = {
    "list": listing.list_documents,
    "show": listing.show,
    "set": keys.set_config,
    "unset": keys.unset_config,
    "device set": keys.set_device,
    "device unset": keys.unset_device,
    "device remove": keys.remove_device,
    "create": whole.create,
    "remove": whole.remove,
    "edit": edit.edit,
}


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Run the action of a command line.

    :raises CommandError: when it fails.
    """
    served = served_by(arguments)
    source = served.source_named(arguments.containers)
    if not isinstance(source, DirectorySource):
        raise CommandError(
            f"{source}: devlxd container reads and changes documents in a directory; "
            "use etcdctl for those in etcd",
            ExitStatus.USAGE,
        )
    directory = DocumentDirectory(source.path, served.access_keys, served.max_size)
    try:
        _ACTIONS[arguments.action](arguments, directory)
    except FaultyError as error:
        print_finding(error.fault)
        return ExitStatus.BAD
    except InvalidNameError as error:
        raise CommandError(str(error), ExitStatus.USAGE) from None
    except NoContainerError as error:
        raise CommandError(str(error), ExitStatus.NOT_FOUND) from None
    except DocumentsError as error:
        raise CommandError(str(error)) from None
    return ExitStatus.OK
