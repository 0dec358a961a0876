# -*- test-case-name: tests.admin.test_response_cache -*-
"""The last responses of public resources.

Every local user can send requests to a TCP endpoint, as many as it likes. Making a
response takes milliseconds if there are thousands of containers, and guests wait
meanwhile. Therefore each response is made once a second at most.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IReactorTime

from devlxd.admin.responses import AdminResponse

#: For how long a response is used, in seconds.
LIFETIME = 1

#: How many responses are kept.
MAX_KEPT = 32


class ResponseCache:
    """The last responses.

    :param reactor: provides the time.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        # In the order in which they were made.
        self._responses: dict[Hashable, tuple[float, AdminResponse]] = {}

    def get(
        self, key: Hashable, make: Callable[[], AdminResponse | None]
    ) -> AdminResponse | None:
        """Return the response for a key, which is made if there is none.

        :param make: makes the response; ``None`` is not kept.
        """
        now = self._reactor.seconds()
        made, response = self._responses.get(key, (0.0, None))
        if response is not None and now - made < LIFETIME:
            return response
        response = make()
        self._responses.pop(key, None)
        if response is not None:
            self._responses[key] = now, response
            if len(self._responses) > MAX_KEPT:
                del self._responses[next(iter(self._responses))]
        return response
