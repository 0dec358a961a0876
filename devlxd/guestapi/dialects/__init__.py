# -*- test-case-name: tests.guestapi.test_dialects -*-
"""The dialects: every module of this package describes one.

Each module defines ``DIALECT``, a `devlxd.guestapi.dialect.Dialect`. Code that two
dialects use belongs in `devlxd.guestapi`, which does not depend on any of them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from devlxd.guestapi.dialect import Dialect


def _dialects() -> Iterator[Dialect]:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        dialect = import_module(module.name).DIALECT
        assert isinstance(dialect, Dialect), module.name
        yield dialect


#: All dialects by their names, in the order of their ranks.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {d.name: d for d in sorted(_dialects(), key=lambda d: (d.rank, d.name))}
)

#: The dialect of an endpoint for which no dialect is named.
DEFAULT_DIALECT = next(iter(DIALECTS.values()))


def dialect_named(name: str) -> Dialect:
    """Return the dialect with a name.

    :raises ValueError: if there is none; the text names all dialects.
    """
    if name not in DIALECTS:
        known = ", ".join(DIALECTS)
        raise ValueError(f"there is no dialect {name}; the dialects are {known}")
    return DIALECTS[name]
