# -*- test-case-name: tests.test_guest_endpoints -*-
"""Where a service listens for guests: the argument ``listen`` of `DevLXDService`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from twisted.internet.interfaces import IReactorUNIX, IStreamServerEndpoint

from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import dialect_named
from devlxd.host.listening import endpoint_at
from devlxd.host.socket_directories import PREFIX, SocketDirectories

#: A path, ``each:DIRECTORY``, a Twisted endpoint string, or an endpoint.
Place: TypeAlias = "str | os.PathLike[str] | IStreamServerEndpoint"

#: Where to listen: at one socket, or at a socket for each container.
Endpoint: TypeAlias = "IStreamServerEndpoint | SocketDirectories"

#: Where to listen, by dialect or by the name of one.
Listen: TypeAlias = (
    "Mapping[str, Place | Iterable[Place]] | Mapping[Dialect, Place | Iterable[Place]]"
)


def guest_endpoints(
    reactor: IReactorUNIX, listen: Listen
) -> list[tuple[Dialect, Endpoint]]:
    """Return the endpoints that the argument ``listen`` describes.

    :return: pairs of a dialect and an endpoint.
    :raises TypeError: if a dialect or a place has the wrong type.
    :raises ValueError: if there is no such dialect, or a place is not an endpoint.
    """
    return [
        (dialect, _endpoint(reactor, dialect, place))
        for dialect, places in _by_dialect(listen)
        for place in places
    ]


def _by_dialect(listen: Listen) -> Iterator[tuple[Dialect, Iterable[Place]]]:
    if not isinstance(listen, Mapping):
        raise TypeError(
            f"listen must map dialects to endpoints, not be a {_type_name(listen)}"
        )
    for key, value in listen.items():
        if not isinstance(key, str | Dialect):
            raise TypeError(f"a dialect must be its name, not {_type_name(key)}")
        dialect = dialect_named(key) if isinstance(key, str) else key
        if isinstance(value, str | os.PathLike) or not isinstance(value, Iterable):
            yield dialect, [value]
        else:
            yield dialect, value


def _endpoint(reactor: IReactorUNIX, dialect: Dialect, place: Place) -> Endpoint:
    if isinstance(place, str | os.PathLike):
        description = os.fspath(place)
        try:
            if description.startswith(PREFIX):
                return SocketDirectories(description.removeprefix(PREFIX))
            return endpoint_at(reactor, description)
        except ValueError as error:
            raise ValueError(
                f"cannot listen on {description!r} for {dialect.name} guests: {error}"
            ) from error
    if not IStreamServerEndpoint.providedBy(place):
        raise TypeError(
            f"an endpoint for {dialect.name} guests must be a path, an endpoint string "
            f"or an IStreamServerEndpoint, not {_type_name(place)}"
        )
    return place


def _type_name(value: object) -> str:
    return type(value).__name__
