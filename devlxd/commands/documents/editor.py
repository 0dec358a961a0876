# -*- test-case-name: tests.commands.documents.test_edit -*-
"""Editing a text in the operator's editor."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from types import FrameType

#: The variables of the environment that name the editor, in the order of ``lxc``.
_VARIABLES = ("VISUAL", "EDITOR")

#: The editors that are tried where there is none.
_EDITORS = ("editor", "vi", "emacs", "nano")


class EditorError(Exception):
    """There is no editor, or it has failed. The message says why, in one line."""


class EditedFile:
    """A temporary file with a text to edit, which only this user may read.

    :ivar path: its path.
    :param name: a part of its name.
    :param suffix: the end of its name, by which editors know the format.
    :param content: the text.
    """

    def __init__(self, name: str, suffix: str, content: bytes) -> None:
        descriptor, self.path = tempfile.mkstemp(suffix, f"devlxd-{name}-")
        with open(descriptor, "wb") as file:
            file.write(content)

    def edit(self) -> bytes:
        """Run the editor; return the text when it has ended.

        :raises EditorError: if it fails.
        """
        command = [*editor(), self.path]
        try:
            with _ignoring_interrupts():
                status = subprocess.run(command, check=False).returncode
            if status:
                text = f"the editor {command[0]} has failed with status {status}"
                raise EditorError(f"{text}; nothing is saved")
            with open(self.path, "rb") as file:
                return file.read()
        except OSError as error:
            text = f"{error.filename or command[0]}: {error.strerror}"
            raise EditorError(f"{text}; nothing is saved") from None

    def remove(self) -> None:
        """Remove the file."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def remove_if(self, content: bytes) -> bool:
        """Remove the file if it has the given content; return whether it is gone."""
        try:
            with open(self.path, "rb") as file:
                if file.read() != content:
                    return False
        except FileNotFoundError:
            return True
        self.remove()
        return True


def editor() -> list[str]:
    """Return the command of the operator's editor.

    :raises EditorError: if there is none.
    """
    for variable in _VARIABLES:
        value = os.environ.get(variable, "").strip()
        if value:
            try:
                return shlex.split(value)
            except ValueError as error:
                text = f"{variable} in the environment is no command: {error}"
                raise EditorError(text) from None
    for name in _EDITORS:
        if shutil.which(name):
            return [name]
    raise EditorError("there is no editor; set EDITOR in the environment")


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to the editor.

    A function that does nothing, as a new program inherits a signal that is ignored.
    """

    def ignore(_number: int, _frame: FrameType | None) -> None:
        pass

    before = signal.signal(signal.SIGINT, ignore)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
