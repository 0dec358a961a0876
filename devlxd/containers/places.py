# -*- test-case-name: tests.containers.test_places -*-
"""Where on disk a container's document lies, and how it is read from there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from attrs import frozen

from devlxd.containers.documents import Form, read_container
from devlxd.containers.trees import MAX_DOCUMENT, DocumentError, shown
from devlxd.files import open_regular
from devlxd.model import Container, is_container_name

#: ``NAME.yaml``, by its suffix.
_SUFFIXES = {".yaml": Form.YAML, ".yml": Form.YAML, ".json": Form.JSON}

#: ``NAME/config.yaml``, by the name in the directory.
_INSIDE = {"config.yaml": Form.YAML, "backup.yaml": Form.RECORD}


#: For how long two changes of a file may look like one, in seconds.
WARM = 2.0


class UnreadableError(Exception):
    """An entry of the directory that gives no container; the text says why."""


@frozen
class Place:
    """Where a document lies, and how it is written down."""

    path: Path
    form: Form


def name_of(entry: str) -> str:
    """Return the name of the container that an entry of the directory is of."""
    stem, suffix = os.path.splitext(entry)
    return stem if suffix in _SUFFIXES else entry


def is_hidden(entry: str) -> bool:
    """Tell whether an entry is none of ours, such as an editor's."""
    return entry.startswith(".")


def places_of(directory: Path, name: str) -> list[Place]:
    """Find the documents of the container ``name``, of which there should be one.

    :raises UnreadableError: when there is no telling which there are.
    """
    places = [
        Place(directory / f"{name}{suffix}", form) for suffix, form in _SUFFIXES.items()
    ]
    try:
        if _is_directory(directory / name):
            places += [Place(directory / name / i, form) for i, form in _INSIDE.items()]
        return [place for place in places if _lies_there(place.path)]
    except OSError as error:
        path = error.filename or directory / name
        raise UnreadableError(f"{_shown(path)}: {_reason(error)}") from None


def _is_directory(path: Path) -> bool:
    """Tell whether ``path`` is a directory, or a link to one.

    :raises OSError: when it cannot be told, or it is a link that leads nowhere.
    """
    return _lies_there(path) and stat.S_ISDIR(os.stat(path).st_mode)


def _lies_there(path: Path) -> bool:
    """Tell whether there is something at ``path``.

    :raises OSError: when it cannot be told.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def watched_entries(directory: Path, name: str) -> set[tuple[str, str]]:
    """Tell which entries of other directories matter to ``name``.

    :return: pairs of a directory and an entry of it: of the container's own
        directory, and of those that links point to.
    """
    own = directory / name
    inside = [own / entry for entry in _INSIDE] if os.path.isdir(own) else []
    entries = {os.path.split(path) for path in inside}
    for path in (*(directory / f"{name}{suffix}" for suffix in _SUFFIXES), *inside):
        if os.path.islink(path):
            entries.add(os.path.split(os.path.realpath(path)))
    return entries


def signature_of(
    places: list[Place], now: float
) -> tuple[str | int | None, ...] | None:
    """Return what is equal as long as nobody has touched the documents.

    :param now: the time, in seconds since 1970.
    :return: ``None`` where that cannot be told yet: clocks of file systems are
        coarse, and two changes right after each other look like one.
    """
    # Flat, and of what cannot refer to anything: ten thousand of these shall
    # not keep the garbage collector busy.
    signature: list[str | int | None] = []
    for place in places:
        try:
            status = os.stat(place.path)
        except OSError as error:
            signature += (str(place.path), error.errno)
        else:
            if max(status.st_mtime, status.st_ctime) > now - WARM:
                return None
            times = (status.st_mtime_ns, status.st_ctime_ns)
            signature += (str(place.path), status.st_dev, status.st_ino, *times)
    return tuple(signature)


def read_places(name: str, places: list[Place]) -> Container | None:
    """Read the container ``name`` from where its document lies.

    :return: ``None`` where there is none.
    :raises UnreadableError: when there is no telling what it is.
    """
    if not places:
        return None
    if not is_container_name(name):
        raise UnreadableError(f"{_shown(places[0].path)}: not a container's name")
    if len(places) > 1:
        found = " and ".join(_shown(place.path) for place in places)
        raise UnreadableError(f"{found}: more than one document for {name}")
    return _read_document(name, places[0])


def _read_document(name: str, place: Place) -> Container:
    try:
        content = _content(place.path)
    except OSError as error:
        raise UnreadableError(f"{_shown(place.path)}: {_reason(error)}") from None
    try:
        return read_container(name, content, place.form)
    except DocumentError as error:
        line = "" if error.line is None else f":{error.line}"
        raise UnreadableError(f"{_shown(place.path)}{line}: {error.reason}") from None


def _content(path: Path) -> bytes:
    """Read a regular file whole; never wait on a FIFO or a device."""
    with open(open_regular(path), "rb") as file:
        # One byte too many tells the reader of documents that it is too long.
        return file.read(MAX_DOCUMENT + 1)


def _shown(path: Path | str) -> str:
    return shown(str(path))


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "a link that leads nowhere"
    return error.strerror or str(error)
