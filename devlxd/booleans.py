# -*- test-case-name: tests.test_booleans -*-
"""What LXD takes for yes and for no: ``IsTrue`` and ``IsFalse`` of its source."""

from __future__ import annotations

_TRUE = frozenset(("1", "true", "yes", "on"))

_FALSE = frozenset(("0", "false", "no", "off"))


def is_true(text: str) -> bool:
    """Tell whether ``text`` says yes, in any letter case; empty does not."""
    return text.lower() in _TRUE


def is_false(text: str) -> bool:
    """Tell whether ``text`` says no, in any letter case; empty does not."""
    return text.lower() in _FALSE
