# -*- test-case-name: tests.containers.test_places -*-
"""Where on disk a container's document lies, and how it is read from there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from devlxd.containers.documents import Form, Reading, reading
from devlxd.containers.trees import MAX_DOCUMENT, DocumentError, shown
from devlxd.files import birth_time_ns, open_regular
from devlxd.model import is_container_name
from devlxd.turns import Slices

#: ``NAME.yaml``, by its suffix.
_SUFFIXES = {".yaml": Form.YAML, ".yml": Form.YAML, ".json": Form.JSON}

#: ``NAME/config.yaml``, by the name in the directory.
_INSIDE = {"config.yaml": Form.YAML, "backup.yaml": Form.RECORD}


#: For how long two changes of a file may look like one, in seconds.
WARM = 2.0


class UnreadableError(Exception):
    """An entry of the directory that gives no container; the text says why.

    :ivar reason: why, without its path and line.
    :ivar may_pass: whether this may be over without a change of the entry.
    """

    def __init__(self, where: str, reason: str, may_pass: bool = False) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason
        self.may_pass = may_pass


@frozen
class Place:
    """Where a document lies, and how it is written down."""

    path: Path
    form: Form

    def shown(self, line: int | None = None) -> str:
        """Return it as the log shows it, with a line of it."""
        return _shown(self.path) if line is None else f"{_shown(self.path)}:{line}"


@frozen
class Document:
    """A document as it was read.

    :ivar origin: the inode and the birth time of what came and will go with the
        container: the document, or the container's own directory around it;
        empty where the birth time is not known. Devices are numbered anew when
        the host starts, and are not in it.
    """

    place: Place
    content: bytes
    origin: str


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
        raise _unreadable(error, error.filename or directory / name) from None


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


def state_of(places: list[Place]) -> list[tuple[int, int, int]]:
    """Return what changes with every piece that is written of the documents.

    :raises UnreadableError: when it cannot be told.
    """
    states = []
    for place in places:
        try:
            status = os.stat(place.path)
        except OSError as error:
            raise _unreadable(error, place.path) from None
        states.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return states


def read_document(name: str, places: list[Place]) -> Document | None:
    """Read the document of the container ``name`` from where it lies.

    :return: ``None`` where there is none.
    :raises UnreadableError: when there is no telling what it is.
    """
    if not places:
        return None
    place = places[0]
    if not is_container_name(name):
        raise UnreadableError(place.shown(), "not a container's name")
    if len(places) > 1:
        found = " and ".join(place.shown() for place in places)
        raise UnreadableError(found, f"more than one document for {name}")
    try:
        with open(open_regular(place.path), "rb") as file:
            content = _content(place, file.fileno(), file)
            own = place.path.parent if place.path.name in _INSIDE else file.fileno()
            return Document(place, content, _origin(own))
    except OSError as error:
        raise _unreadable(error, place.path) from None


def read_container(name: str, document: Document) -> Slices[Reading]:
    """Read the container ``name`` off its document, in slices.

    :raises UnreadableError: when that cannot be done.
    """
    place = document.place
    try:
        return (yield from reading(name, document.content, place.form, document.origin))
    except DocumentError as error:
        raise UnreadableError(place.shown(error.line), error.reason) from None


def _content(place: Place, descriptor: int, file: BinaryIO) -> bytes:
    """Read a regular file whole, as long as it is the same before and after."""
    before = os.fstat(descriptor)
    # One byte too many tells the reader of documents that it is too long.
    content = file.read(MAX_DOCUMENT + 1)
    after = os.fstat(descriptor)
    was_touched = before.st_mtime_ns != after.st_mtime_ns
    if was_touched or len(content) < min(after.st_size, MAX_DOCUMENT):
        reason = "was written to while it was read"
        raise UnreadableError(place.shown(), reason, may_pass=True)
    return content


def _origin(own: Path | int) -> str:
    birth = birth_time_ns(own)
    return "" if birth is None else f"{os.stat(own).st_ino}:{birth}"


def _shown(path: Path | str) -> str:
    return shown(str(path))


def _unreadable(error: OSError, path: Path | str) -> UnreadableError:
    if error.errno == errno.ENOENT:
        reason = "a link that leads nowhere"
    else:
        reason = error.strerror or str(error)
    return UnreadableError(_shown(path), reason, may_pass=True)


def ignored(directory: Path, name: str) -> str:
    """Tell which entry of the directory is no document, but looks meant as one.

    :return: its path for the log; empty where there is no such entry.
    """
    _stem, suffix = os.path.splitext(name)
    if suffix.lower() not in (*_SUFFIXES, ".conf"):
        return ""
    path = directory / name
    return _shown(path) if os.path.isfile(path) else ""
