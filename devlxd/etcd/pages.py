# -*- test-case-name: tests.etcd.test_pages -*-
"""Listing all keys in pages, whose sizes follow the sizes of the values."""

from __future__ import annotations

from attrs import evolve

from devlxd.etcd.errors import EtcdError, TooLargeError
from devlxd.etcd.interfaces import IRangeGateway
from devlxd.etcd.messages import KeyRange, RangeAnswer, RangeRequest

#: The size of a page, in bytes, that the next one should have.
PAGE_SIZE = 256 * 1024

#: The maximum size of a page with several keys, in bytes.
MAX_PAGE = 4 * 1024 * 1024

#: The number of keys in the first page, and the greatest one.
_FIRST_LIMIT = 64
_MAX_LIMIT = 2000

#: What an answer needs besides the base64 of one value, in bytes.
_MARGIN = 64 * 1024

#: How long a member may take to send a page, in seconds.
PAGE_TIMEOUT = 8.0


def max_answer(max_value: int) -> int:
    """Return the maximum length of an answer with one value, in bytes.

    :param max_value: the maximum length of the value, in bytes.
    """
    return max(MAX_PAGE, max_value * 4 // 3 + _MARGIN)


class Pages:
    """The pages of a list of all keys, all of one revision.

    :param keys: the range of the keys.
    :param max_size: the maximum length of an answer with one key, in bytes. A longer
        value is omitted.
    :param keys_only: whether to omit all values.
    :ivar revision: the revision of the list; 0 before the first page.
    :ivar is_complete: whether the last page was received.
    """

    def __init__(self, keys: KeyRange, max_size: int, keys_only: bool = False) -> None:
        self._keys = keys
        self._max_size = max_size
        self._keys_only = keys_only
        self._limit = _FIRST_LIMIT
        self.revision = 0
        self.is_complete = False

    async def next(self, gateway: IRangeGateway) -> RangeAnswer:
        """Ask for the next page, and return it.

        :raises EtcdError: if there is no answer, or the revision was compacted.
        """
        while True:
            try:
                answer = await gateway.range(
                    self._request(), self._max_answer(), PAGE_TIMEOUT
                )
            except TooLargeError:
                if self._limit > 1:
                    self._limit = max(1, self._limit // 4)
                    continue
                answer = await self._without_value(gateway)
            self._received(answer)
            return answer

    async def _without_value(self, gateway: IRangeGateway) -> RangeAnswer:
        """Ask for the next key, whose value is too large.

        :raises EtcdError: if that is too large as well: it is no answer of etcd.
        """
        request = evolve(self._request(), keys_only=True)
        try:
            return await gateway.range(request, MAX_PAGE, PAGE_TIMEOUT)
        except TooLargeError as error:
            raise EtcdError(str(error)) from None

    def _request(self) -> RangeRequest:
        return RangeRequest(
            self._keys, self._limit, self.revision, keys_only=self._keys_only
        )

    def _max_answer(self) -> int:
        return MAX_PAGE if self._limit > 1 else self._max_size

    def _received(self, answer: RangeAnswer) -> None:
        if not self.revision:
            # Every answer has the present revision, not the one that was asked for.
            self.revision = answer.revision
        self.is_complete = not answer.more or not answer.kvs
        if answer.kvs:
            self._keys = self._keys.after(answer.kvs[-1].key)
            fitting = PAGE_SIZE * len(answer.kvs) // max(1, answer.size)
            self._limit = max(1, min(fitting, 2 * self._limit, _MAX_LIMIT))
