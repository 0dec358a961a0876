# -*- test-case-name: tests.documents.test_directory -*-
"""Why a document is not changed."""

from __future__ import annotations

from devlxd.model import Fault
from devlxd.printable_text import printable


class DocumentsError(Exception):
    """Something is wrong; nothing was changed.

    The message is one line for the operator.
    """


class InvalidNameError(DocumentsError):
    """No container can have the name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{printable(name)} is not a valid container name; use at most 128 ASCII "
            "letters, digits, _, . and -, and begin with none of . and -"
        )


class NoContainerError(DocumentsError):
    """There is no document of the container."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{printable(name)}: no such container")


class ChangedMeanwhileError(DocumentsError):
    """Somebody else has changed the document since it was read."""

    def __init__(self, file: str) -> None:
        super().__init__(f"{file} has been changed by somebody else meanwhile")


class FaultyError(DocumentsError):
    """The document has a fault, or would have one.

    :ivar fault: the fault.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault
