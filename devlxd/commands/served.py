# -*- test-case-name: tests.commands.test_check -*-
"""What a devlxd serves, as its configuration and the command line say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen
from twisted.python import usage

from devlxd.access_keys import access_keys
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import printable
from devlxd.container_sources import IContainerSource, parse_source
from devlxd.containers.document_warnings import AccessKeys
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DEFAULT_DIALECT, DIALECTS
from devlxd.options import Options


@frozen
class Served:
    """What a devlxd serves.

    :ivar source: where the documents are.
    :ivar access_keys: the config keys that are checked for mistakes.
    :ivar max_size: the maximum length of a document, in bytes.
    """

    source: IContainerSource
    access_keys: AccessKeys
    max_size: int

    @classmethod
    def of(
        cls, config: Path | None, dialects: Sequence[str], switch: str | None
    ) -> Served:
        """Return what is served.

        :param config: the file of ``--config`` of ``twistd devlxd``; default: none.
        :param dialects: the names of the dialects; default: those in ``config``.
        :param switch: the key of ``--switch``; default: that in ``config``.
        :raises CommandError: if a dialect is unknown, or ``config`` has a mistake.
        """
        named = [_dialect(name) for name in dialects]
        options = Options()
        options["config"] = None if config is None else str(config)
        try:
            options.read_config()
        except usage.UsageError as error:
            raise CommandError(str(error)) from None
        listening = [at.dialect for at in options["listen"]]
        served = named or listening or [DEFAULT_DIALECT]
        try:
            source = options.containers(served[0])
        except usage.UsageError as error:
            raise CommandError(str(error)) from None
        switch = switch or options["switch"]
        if switch:
            served = [evolve(dialect, switch=switch) for dialect in served]
        return cls(source, access_keys(served), options.limits().document_bytes)

    def source_named(self, text: str | None) -> IContainerSource:
        """Return the source that an argument names; default: that which is served.

        :raises CommandError: if the argument has a mistake.
        """
        try:
            return self.source if text is None else parse_source(text)
        except ValueError as error:
            raise CommandError(str(error), ExitStatus.USAGE) from None


def _dialect(name: str) -> Dialect:
    """Return a dialect by its name."""
    if name not in DIALECTS:
        text = f"there is no dialect {printable(name)}; the dialects are "
        raise CommandError(text + ", ".join(DIALECTS), ExitStatus.USAGE)
    return DIALECTS[name]
