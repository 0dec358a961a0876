# -*- test-case-name: tests.test_booleans -*-
"""Booleans in configuration: ``IsTrue`` and ``IsFalse`` of LXD.

https://github.com/canonical/lxd/blob/main/shared/util.go
"""

from __future__ import annotations

_TRUE = frozenset(("1", "true", "yes", "on"))

_FALSE = frozenset(("0", "false", "no", "off"))


def is_true(text: str) -> bool:
    """Return whether ``text`` means true, in any letter case; "" does not."""
    return text.lower() in _TRUE


def is_false(text: str) -> bool:
    """Return whether ``text`` means false, in any letter case; "" does not."""
    return text.lower() in _FALSE
