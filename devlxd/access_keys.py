# -*- test-case-name: tests.test_access_keys -*-
"""The config keys of all dialects whose mistakes are worth a warning."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.containers.document_warnings import AccessKeys
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DIALECTS


def access_keys(served: Iterable[Dialect]) -> AccessKeys:
    """Return the config keys that decide what guests may do.

    Those of all dialects are included, because a document may have been written for
    a dialect that is not served.

    :param served: the dialects that are served, with the switch of ``--switch``.
    """
    served = [*served]
    dialects = [*served, *DIALECTS.values()]
    switches = [dialect.switch for dialect in dialects]
    images = [dialect.images_key for dialect in dialects if dialect.images]
    exported = tuple({prefix: None for d in dialects for prefix in d.exported})
    shown = {prefix for dialect in served for prefix in dialect.exported}
    return AccessKeys(
        booleans=tuple(dict.fromkeys((*switches, *images))),
        uids=tuple({dialect.uids_key: None for dialect in dialects}),
        similar=tuple({key: None for d in dialects for key in d.similar_keys}),
        exported=exported,
        hidden=tuple(p for p in exported if p not in shown) if served else (),
    )
