# -*- test-case-name: tests.test_printable_text -*-
"""Texts for people: lines of the log, errors, and what operators read.

Guests and documents may have chosen the texts: none of these functions returns a
control character, a lone surrogate, or a control of the writing direction.
"""

from __future__ import annotations

import os

#: The default maximum length of a text within a line, in characters.
MAX_SHOWN = 200


def escaped(text: str) -> str:
    r"""Return ``text`` with ``\n``, ``\x1b``, ``\u2028`` and the like escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable(text: str) -> str:
    """Return a name from a document: shortened, in quotes if anything is escaped."""
    short = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
    return short if short.isprintable() else ascii(short)


def printable_path(path: str | os.PathLike[str]) -> str:
    """Return a whole path, in quotes if anything is escaped."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def printable_ascii(text: str, limit: int = MAX_SHOWN) -> str:
    """Return ``text`` in ASCII, cut off after ``limit`` characters.

    Anything else becomes ``?``: a guest cannot choose what looks like another name.
    """
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
