# -*- test-case-name: tests.httpserver.test_entity_tags -*-
"""The entity tags of whole responses (RFC 9110, 8.8.3)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from twisted.internet.defer import Deferred

#: How much of a body is hashed at a time, in bytes: about 0.3 ms.
SLICE = 256 * 1024

#: The size of the hash in an entity tag, in bytes.
HASH_SIZE = 16


class EntityTag:
    """The strong entity tag of a body, which is a hash of it.

    Equal bodies have equal tags, also after a restart. A long body is hashed in slices,
    for all requests that wait for its tag together.

    :param body: the body. It is not copied.
    :ivar value: the tag, with its quotes; ``None`` until the body is hashed.
    """

    __slots__ = ("_hash", "_rest", "value")

    def __init__(self, body: bytes) -> None:
        self.value: bytes | None = None
        self._hash = blake2b(digest_size=HASH_SIZE)
        self._rest = memoryview(body)
        if len(body) <= SLICE:
            self.advance()

    def when_known(
        self, take_turn: Callable[[Callable[[], None]], object]
    ) -> Deferred[None]:
        """Return a cancellable Deferred that fires when the tag is known.

        :param take_turn: calls a function in a turn.
        """
        return _Waiting(self, take_turn).known

    def advance(self) -> bool:
        """Hash the next slice; return whether the tag is known."""
        if self.value is None:
            self._hash.update(self._rest[:SLICE])
            self._rest = self._rest[SLICE:]
            if not self._rest:
                self.value = b'"%b"' % self._hash.hexdigest().encode("ascii")
                # Kept with each response in a cache, they would need more memory than
                # the tag.
                del self._hash, self._rest
        return self.value is not None


class _Waiting:
    """One wait for a tag: it hashes a slice of the body in each turn."""

    def __init__(
        self, tag: EntityTag, take_turn: Callable[[Callable[[], None]], object]
    ) -> None:
        self.known: Deferred[None] = Deferred()
        self._tag = tag
        self._take_turn = take_turn
        take_turn(self._advance)

    def _advance(self) -> None:
        if self.known.called:
            # It was cancelled.
            return
        if self._tag.advance():
            self.known.callback(None)
        else:
            self._take_turn(self._advance)
