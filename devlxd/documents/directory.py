# -*- test-case-name: tests.documents.test_directory -*-
"""The documents of a directory: reading, checking, changing, creating, removing.

Each change happens under the lock of the directory, from reading the document to
replacing it, and only if ``devlxd check`` would find that devlxd can read it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen

from devlxd.containers.document_files import Document, parse, read_document
from devlxd.containers.document_parser import Format, ParsedDocument
from devlxd.containers.document_paths import (
    DocumentPath,
    UnreadableError,
    find_documents,
    list_containers,
)
from devlxd.containers.document_trees import MAX_DOCUMENT
from devlxd.containers.document_warnings import NO_ACCESS_KEYS, AccessKeys, id_warning
from devlxd.documents import replacing
from devlxd.documents.changes import ChangeError, Remove, SetValue, changed
from devlxd.documents.errors import (
    ChangedMeanwhileError,
    DocumentsError,
    FaultyError,
    InvalidNameError,
    NoContainerError,
)
from devlxd.documents.locking import TIMEOUT, LockTimeoutError, locked
from devlxd.model import Container, Fault, is_container_name
from devlxd.printable_text import printable_path
from devlxd.turns import finish

#: A document without keys.
_EMPTY = "config: {}\ndevices: {}\n"


@frozen
class ListedDocument:
    """A document in a list.

    :ivar name: the name of the container.
    :ivar path: the document.
    :ivar fault: why devlxd cannot use it; ``None`` if it can.
    """

    name: str
    path: Path
    fault: Fault | None


@frozen
class DocumentDirectory:
    """A directory of documents.

    :param path: the directory.
    :param access_keys: the config keys that are checked for mistakes.
    :param max_size: the maximum length of a document, in bytes.
    """

    path: Path
    access_keys: AccessKeys = NO_ACCESS_KEYS
    max_size: int = MAX_DOCUMENT

    def documents(self) -> list[ListedDocument]:
        """Return all documents, sorted by the names of their containers.

        :raises DocumentsError: if the directory is missing, or cannot be listed.
        """
        with self._errors(self.path):
            os.scandir(self.path).close()
            names = sorted(list_containers(self.path))
        return [listed for name in names if (listed := self._listed(name))]

    def _listed(self, name: str) -> ListedDocument | None:
        fault, paths = None, []
        try:
            paths = find_documents(self.path, name)
            document = read_document(name, paths, self.max_size)
            if document is None:
                return None
            finish(parse(name, document, self.access_keys))
        except UnreadableError as error:
            fault = error.fault_of(name)
        return ListedDocument(name, paths[0].path if paths else self.path / name, fault)

    def read(self, name: str) -> Document:
        """Return the document of a container; it may have faults.

        :raises InvalidNameError: if no container can have that name.
        :raises NoContainerError: if there is none.
        :raises FaultyError: if it cannot be read.
        """
        self._check_name(name)
        try:
            paths = find_documents(self.path, name)
            document = read_document(name, paths, self.max_size)
        except UnreadableError as error:
            raise FaultyError(error.fault_of(name)) from None
        if document is None:
            with self._errors(self.path):
                os.scandir(self.path).close()
            raise NoContainerError(name)
        return document

    def parse(self, name: str, document: Document) -> ParsedDocument:
        """Return what a document says.

        :raises FaultyError: if devlxd cannot use it.
        """
        try:
            return finish(parse(name, document, self.access_keys))
        except UnreadableError as error:
            raise FaultyError(error.fault_of(name)) from None

    def check(self, name: str, document: Document) -> list[Fault]:
        """Return the warnings about a document.

        :raises FaultyError: if devlxd cannot use it.
        """
        file = document.path.printable()
        parsed = self.parse(name, document)
        faults = [warning.fault_in(file, name) for warning in parsed.warnings]
        other = self._other_with_id(parsed.container)
        if other is not None:
            faults.append(id_warning(parsed.id_line, other).fault_in(file, name))
        return sorted(faults, key=lambda fault: (fault.line, fault.text))

    def change(self, name: str, changes: Sequence[SetValue | Remove]) -> list[Fault]:
        """Change the document of a container.

        :return: the warnings about it that there were not before.
        :raises DocumentsError: if it is not changed, and why.
        """
        self._check_name(name)
        with self._locked():
            old = self.read(name)
            self.check_is_ours(name, old.path)
            before = {warning.text for warning in self.parse(name, old).warnings}
            text = self._changed(name, old, changes)
            new = evolve(old, content=text.encode("utf-8"))
            parsed = self.parse(name, new)
            self._replace(name, old, new.content)
        file = old.path.printable()
        warnings = [w for w in parsed.warnings if w.text not in before]
        return [warning.fault_in(file, name) for warning in warnings]

    def replace(self, name: str, old: Document, content: bytes) -> list[Fault]:
        """Replace the document of a container as a whole.

        :param old: what it was when its new content was made.
        :return: the warnings about it.
        :raises ChangedMeanwhileError: if it is another one by now.
        :raises DocumentsError: if it is not replaced for another reason.
        """
        self.check_is_ours(name, old.path)
        with self._locked():
            try:
                current = self.read(name)
            except NoContainerError:
                raise ChangedMeanwhileError(old.path.printable()) from None
            if (current.path, current.content) != (old.path, old.content):
                raise ChangedMeanwhileError(old.path.printable())
            warnings = self.check(name, evolve(current, content=content))
            self._replace(name, current, content)
        return warnings

    def create(self, name: str, changes: Sequence[SetValue]) -> list[Fault]:
        """Create the document ``NAME.yaml``.

        :param changes: the keys that it has.
        :return: the warnings about it.
        :raises DocumentsError: if it is not created, and why.
        """
        self._check_name(name)
        path = DocumentPath(self.path / f"{name}.yaml", Format.YAML, False)
        document = Document(path, _EMPTY.encode(), "", max_size=self.max_size)
        text = self._changed(name, document, changes)
        document = evolve(document, content=text.encode("utf-8"))
        with self._locked():
            try:
                paths = find_documents(self.path, name)
            except UnreadableError as error:
                raise FaultyError(error.fault_of(name)) from None
            if paths:
                raise DocumentsError(f"{name} exists already: {paths[0].printable()}")
            warnings = self.check(name, document)
            with self._errors(path.path):
                replacing.create(path.path, document.content)
        return warnings

    def remove(self, name: str) -> None:
        """Remove the document of a container, and its own directory if it is empty.

        :raises DocumentsError: if it is not removed, and why.
        """
        self._check_name(name)
        with self._locked():
            try:
                paths = find_documents(self.path, name)
                if len(paths) > 1:
                    read_document(name, paths, self.max_size)
            except UnreadableError as error:
                raise FaultyError(error.fault_of(name)) from None
            if not paths:
                raise NoContainerError(name)
            self.check_is_ours(name, paths[0])
            with self._errors(paths[0].path):
                replacing.remove(paths[0].path)
            if paths[0].is_in_own_directory:
                # It is not empty, or a link.
                with contextlib.suppress(OSError):
                    os.rmdir(self.path / name)

    def check_is_ours(self, name: str, path: DocumentPath) -> None:
        """Check that a document is not one that LXD or Incus writes.

        :raises DocumentsError: if it is.
        """
        if path.format is not Format.BACKUP:
            return
        owner, command = "LXD", "lxc config set"
        if "/incus/" in os.path.realpath(path.path):
            owner, command = "Incus", "incus config set"
        # In the directories of containers of projects.
        project, separator, rest = name.partition("_")
        if separator:
            name = f"--project {project} {rest}"
        raise DocumentsError(
            f"{path.printable()} is written by {owner}; change it with "
            f"{command} {name} KEY VALUE"
        )

    def _check_name(self, name: str) -> None:
        if not is_container_name(name):
            raise InvalidNameError(name)

    def _changed(
        self, name: str, document: Document, changes: Sequence[SetValue | Remove]
    ) -> str:
        """Return the text of a document after changes."""
        try:
            text = document.content.decode("utf-8")
            return changed(text, document.path.format, changes)
        except ChangeError as error:
            file = document.path.printable()
            raise FaultyError(Fault(file, error.line, error.reason, name)) from None

    def _replace(self, name: str, old: Document, content: bytes) -> None:
        if content == old.content:
            return
        # An editor does not take the lock.
        if self.read(name).content != old.content:
            raise ChangedMeanwhileError(old.path.printable())
        with self._errors(old.path.path):
            replacing.replace(old.path.path, content)

    def _other_with_id(self, container: Container) -> str | None:
        """Return another container that has the same id."""
        if not container.id:
            return None
        for name in sorted(list_containers(self.path) - {container.name}):
            with contextlib.suppress(DocumentsError):
                parsed = self.parse(name, self.read(name))
                if parsed.container.id == container.id:
                    return name
        return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            with self._errors(self.path):
                try:
                    stack.enter_context(locked(self.path))
                except LockTimeoutError:
                    raise DocumentsError(
                        f"{printable_path(self.path)}: another process has locked it "
                        f"for {TIMEOUT:.0f} s; try again"
                    ) from None
            yield

    @contextlib.contextmanager
    def _errors(self, path: Path) -> Iterator[None]:
        """Convert the errors of system calls, and of files that are not replaced."""
        try:
            yield
        except OSError as error:
            text = f"{printable_path(path)}: {error.strerror or error}"
            raise DocumentsError(text) from None
        except replacing.CannotKeepError as error:
            raise DocumentsError(f"{printable_path(path)}: {error}") from None
