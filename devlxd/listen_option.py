# -*- test-case-name: tests.test_tap -*-
"""The option ``--listen [DIALECT=]ENDPOINT`` of ``twistd devlxd``."""

from __future__ import annotations

import os
import re

from attrs import evolve, frozen
from twisted.internet.error import CannotListenError

from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DEFAULT_DIALECT, dialect_named
from devlxd.host.listening import check_endpoint, reason_of
from devlxd.host.socket_directories import PREFIX, SocketDirectories

#: The form of a value that names a dialect; the groups are dialect and endpoint.
_WITH_DIALECT = re.compile(r"([A-Za-z0-9_-]+)=(.*)", re.DOTALL)


@frozen
class ListenOption:
    """The value of one ``--listen``: a dialect, and the endpoint as it was typed."""

    dialect: Dialect
    endpoint: str

    @classmethod
    def parse(cls, value: str) -> ListenOption:
        """Parse the value of the option.

        The default for DIALECT is the default dialect; the default for ENDPOINT is
        the socket of the dialect.

        :raises ValueError: if the value is empty, or there is no such dialect.
        """
        match = _WITH_DIALECT.fullmatch(value)
        name, endpoint = match.groups() if match else (DEFAULT_DIALECT.name, value)
        dialect = dialect_named(name)
        if not value:
            raise ValueError("must not be empty")
        return cls(dialect, endpoint or str(dialect.socket))

    def with_switch(self, key: str) -> ListenOption:
        """Return this option with another config key that switches the API off."""
        return evolve(self, dialect=evolve(self.dialect, switch=key))

    def check(self, identified: bool) -> str:
        """Check the endpoint, and return its address; see `check_endpoint`.

        :param identified: whether callers are identified.
        :raises ValueError: if devlxd cannot listen there; the text is the reason.
        """
        try:
            if self.endpoint.startswith(PREFIX):
                return _check_directories(self.endpoint.removeprefix(PREFIX))
            return check_endpoint(self.endpoint, identified)
        except CannotListenError as error:
            raise ValueError(reason_of(error)) from error


def _check_directories(path: str) -> str:
    """Check a directory of sockets; return the address that stands for all of them."""
    SocketDirectories(path).check()
    return os.path.join(os.path.realpath(path), "*")
