# -*- test-case-name: tests.etcd.test_location -*-
"""Where the documents are in etcd: the value of ``--containers etcd:...``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from attrs import frozen

from devlxd.limits import hint
from devlxd.printable_text import printable

#: What a location begins with.
SCHEME = "etcd:"

#: The port of etcd for its clients.
_DEFAULT_PORT = 2379

#: The parameters that name files of TLS.
_TLS_FILES = ("ca", "cert", "key")

_PARAMETERS = ("prefix", "user", "password-file", *_TLS_FILES)


@frozen
class EtcdEndpoint:
    """The address of one member of etcd.

    :ivar text: the address as it was written.
    :ivar host: a host name or an IP address; empty for a UNIX socket.
    :ivar port: the TCP port; 0 for a UNIX socket.
    :ivar is_tls: whether to use TLS.
    :ivar path: the path of the UNIX socket; empty for TCP.
    """

    text: str
    host: str = ""
    port: int = 0
    is_tls: bool = False
    path: str = ""

    @property
    def is_exposed(self) -> bool:
        """Whether what is sent may be read on the network."""
        is_local = self.path or self.host in ("localhost", "::1")
        return not (is_local or self.is_tls or self.host.startswith("127."))

    @classmethod
    def parse(cls, text: str) -> EtcdEndpoint:
        """Parse ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``.

        :raises ValueError: if it has another form. The text has nothing that may be a
            password.
        """
        scheme, _, rest = text.partition(":")
        if scheme == "unix":
            path = unquote(rest, errors="surrogateescape")
            if not path.startswith("/") or "\0" in path:
                raise ValueError(f"{printable(text)}: the path must be absolute")
            return cls(text, path=path)
        if "@" in text:
            raise ValueError(
                "an endpoint has no user and no password; write user= and "
                "password-file="
            )
        if scheme not in ("http", "https"):
            raise ValueError(
                f"endpoint {printable(text)!r} must have the form http://HOST:PORT, "
                "https://HOST:PORT or unix:PATH"
            )
        return cls._of_url(text)

    @classmethod
    def _of_url(cls, text: str) -> EtcdEndpoint:
        url, port = _split(text)
        if not url.hostname or url.path not in ("", "/") or url.fragment:
            raise ValueError(f"{printable(text)}: write only a host and a port")
        return cls(text.rstrip("/"), url.hostname, port, url.scheme == "https")


def _split(text: str) -> tuple[SplitResult, int]:
    try:
        url = urlsplit(text)
        return url, _DEFAULT_PORT if url.port is None else url.port
    except ValueError:
        raise ValueError(f"{printable(text)}: not a host and a port") from None


@frozen
class EtcdLocation:
    """The keys below a prefix in etcd, and how to reach them. It has no secret.

    :ivar endpoints: the members of etcd, at least one.
    :ivar prefix: what the keys begin with, up to the names of the containers.
    :ivar user: the user of etcd; empty without authentication.
    :ivar password_file: the file with the user's password; empty without a user.
    :ivar ca: the file with the certificates of the authorities that are trusted;
        empty for those of the host.
    :ivar cert: the file with the client certificate; empty for none.
    :ivar key: the file with the private key for it.
    """

    endpoints: tuple[EtcdEndpoint, ...]
    prefix: str
    user: str = ""
    password_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> EtcdLocation:
        """Parse ``etcd:ENDPOINT[,ENDPOINT...]?prefix=PREFIX[&NAME=VALUE...]``.

        The values are percent-decoded. Relative paths are made absolute.

        :raises ValueError: for the first mistake. The text is one line, and has
            nothing that may be a password.
        """
        addresses, _, query = text.removeprefix(SCHEME).partition("?")
        if not addresses:
            raise ValueError(f"write an endpoint after {SCHEME}")
        endpoints = tuple(map(EtcdEndpoint.parse, addresses.split(",")))
        if len({endpoint.text for endpoint in endpoints}) < len(endpoints):
            raise ValueError("an endpoint is given twice")
        values = _parameters(query)
        _check(values, uses_tls=any(endpoint.is_tls for endpoint in endpoints))
        files = {
            name.replace("-", "_"): os.path.abspath(values[name])
            for name in ("password-file", *_TLS_FILES)
            if name in values
        }
        return cls(endpoints, values["prefix"], values.get("user", ""), **files)

    def __str__(self) -> str:
        """Return ``etcd:PREFIX``, which does not depend on the endpoints."""
        return f"{SCHEME}{printable(self.prefix)}"


def is_etcd(text: str) -> bool:
    """Return whether a text is meant as the location of documents in etcd."""
    return text.startswith(SCHEME)


def _parameters(query: str) -> Mapping[str, str]:
    values: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _PARAMETERS:
            similar = hint(name, _PARAMETERS)
            raise ValueError(f"there is no parameter {printable(name)}{similar}")
        if name in values:
            raise ValueError(f"{name} is given twice")
        values[name] = unquote(value, errors="surrogateescape")
        if not values[name] or "\0" in values[name]:
            raise ValueError(f"{name} must not be empty")
    return values


def _check(values: Mapping[str, str], uses_tls: bool) -> None:
    """Check the parameters that depend on each other."""
    prefix = values.get("prefix")
    if prefix is None:
        raise ValueError("prefix is missing; write ?prefix=/devlxd/HOST/")
    if not prefix.endswith("/"):
        raise ValueError(
            f"prefix {printable(prefix)} must end with /: it would be that of other "
            "keys as well"
        )
    if ("user" in values) != ("password-file" in values):
        raise ValueError("user and password-file need each other")
    if ("cert" in values) != ("key" in values):
        raise ValueError("cert and key need each other")
    for name in _TLS_FILES:
        if name in values and not uses_tls:
            raise ValueError(f"{name} needs an endpoint https://HOST:PORT")
