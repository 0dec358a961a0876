# -*- test-case-name: tests.commands.documents.test_keys -*-
"""Setting and removing keys: ``set``, ``unset``, and the same of devices."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from devlxd.commands.documents.findings import print_finding
from devlxd.commands.outcomes import CommandError, ExitStatus
from devlxd.commands.output import printable
from devlxd.documents.changes import Remove, SetValue
from devlxd.documents.directory import DocumentDirectory


def set_config(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Set config keys."""
    pairs = read_pairs(arguments.pairs, directory.max_size)
    _change(arguments, directory, _settings(("config",), pairs))


def unset_config(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Remove config keys."""
    _change(arguments, directory, _removals(("config",), arguments.keys))


def set_device(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Set keys of a device."""
    section = ("devices", _checked(arguments.device, "device"))
    pairs = read_pairs(arguments.pairs, directory.max_size)
    _change(arguments, directory, _settings(section, pairs))


def unset_device(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Remove keys of a device."""
    section = ("devices", arguments.device)
    _change(arguments, directory, _removals(section, arguments.keys))


def remove_device(arguments: argparse.Namespace, directory: DocumentDirectory) -> None:
    """Remove a device."""
    _change(arguments, directory, _removals(("devices",), [arguments.device]))


def config_settings(pairs: Sequence[str], max_size: int) -> list[SetValue]:
    """Return what sets the config keys of a command line."""
    return _settings(("config",), read_pairs(pairs, max_size))


def read_pairs(pairs: Sequence[str], max_size: int) -> dict[str, str]:
    """Return the values of a command line, by key.

    :param pairs: ``KEY=VALUE`` each, or ``KEY`` and ``VALUE``.
    :param max_size: the maximum length of a value on standard input, in bytes.
    :raises CommandError: if they are something else.
    """
    if len(pairs) == 2 and "=" not in pairs[0]:
        pairs = ["=".join(pairs)]
    values: dict[str, str] = {}
    has_read = False
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise _usage(f"{printable(key)} has no value; write KEY=VALUE")
        if key in values:
            raise _usage(f"{printable(key)} is given twice")
        if value == "-" and sys.stdin is not None and not sys.stdin.isatty():
            if has_read:
                raise _usage("only one value can be read from standard input")
            value, has_read = _read_value(key, max_size), True
        values[_checked(key, "key")] = _encodable(key, value)
    return values


def _read_value(key: str, max_size: int) -> str:
    content = sys.stdin.buffer.read(max_size + 1)
    if len(content) > max_size:
        raise CommandError(f"{printable(key)}: longer than {max_size} bytes")
    return content.decode("utf-8", "surrogateescape")


def _checked(name: str, what: str) -> str:
    """Return the name of a key or of a device if it can be one."""
    if not name or not name.isprintable():
        raise _usage(f"{printable(name)} cannot be the name of a {what}")
    return name


def _encodable(key: str, value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _usage(f"the value of {printable(key)} is not UTF-8") from None
    return value


def _usage(text: str) -> CommandError:
    return CommandError(text, ExitStatus.USAGE)


def _settings(section: tuple[str, ...], pairs: dict[str, str]) -> list[SetValue]:
    return [SetValue((*section, key), value) for key, value in pairs.items()]


def _removals(section: tuple[str, ...], keys: Sequence[str]) -> list[Remove]:
    return [Remove((*section, key)) for key in dict.fromkeys(keys)]


def _change(
    arguments: argparse.Namespace,
    directory: DocumentDirectory,
    changes: Sequence[SetValue | Remove],
) -> None:
    for fault in directory.change(arguments.name, changes):
        print_finding(fault)
