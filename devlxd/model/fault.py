# -*- test-case-name: tests.test_model -*-
"""Faults in the documents of containers."""

from __future__ import annotations

from attrs import frozen


@frozen(order=True)
class Fault:
    """Something wrong in a document, or in the directory of the documents.

    :ivar file: the path of the file.
    :ivar line: the number of the line, from 1; 0 if no single line is wrong.
    :ivar text: what is wrong, and what to write instead, in one line. It never has
        values of the document.
    :ivar container: the name of the container; ``None`` if the file is ignored.
    :ivar breaks: whether the document cannot be used because of it. If not, the fault
        is a warning.
    """

    file: str
    line: int
    text: str
    container: str | None = None
    breaks: bool = True

    def __str__(self) -> str:
        """Return ``FILE:LINE: text``, or ``FILE: text`` if there is no line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.text}"
