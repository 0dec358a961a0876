# -*- test-case-name: tests.httpserver.test_compacting -*-
"""Less memory for the attributes of an object that exists for long."""

from __future__ import annotations

_MISSING = object()


def compact(instance: object) -> None:
    """Drop the attributes of an object whose values are those of its class.

    They are read from the class from now on. Twisted's and autobahn's protocols set
    many attributes to such values while they parse. A dictionary does not shrink when
    items are removed; hence it is replaced.
    """
    kind = type(instance)
    instance.__dict__ = {
        name: value
        for name, value in vars(instance).items()
        if getattr(kind, name, _MISSING) is not value
    }
