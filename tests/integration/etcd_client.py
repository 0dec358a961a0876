"""A client of etcd's JSON gateway for tests: what an operator does to the documents."""

from __future__ import annotations

import json
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.integration.processes import TIMEOUT

#: What etcd's gateway is asked to allow for a response, in its own notation.
DEADLINE = "5S"

#: The code of etcd for a token that it does not know, or no longer.
BAD_TOKEN = 16

#: What a call raises when it is not known whether etcd has done it.
UNCERTAIN = (OSError, HTTPException)


class EtcdError(Exception):
    """Raised when etcd refuses a request.

    :ivar code: the code of gRPC.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@frozen
class Stored:
    """A key in etcd.

    :ivar value: its value; ``None`` if there is no such key.
    :ivar revision: its ``mod_revision``; 0 if there is no such key.
    """

    value: str | None = None
    revision: int = 0


class EtcdClient:
    """A client with a connection of its own.

    :param address: the path of a UNIX socket, or a host and a port.
    :param context: for TLS.
    """

    def __init__(
        self, address: Path | tuple[str, int], context: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._context = context
        self._connection: HTTPConnection | None = None
        self._user: tuple[str, str] | None = None
        self._token = ""

    def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request; log in again if need be.

        :param path: without ``/v3``.
        :raises EtcdError: if etcd refuses it.
        :raises OSError: or `HTTPException`, without a response (`UNCERTAIN`).
        """
        try:
            return self._call(path, body)
        except EtcdError as error:
            if error.code != BAD_TOKEN or not self._user:
                raise
            self.log_in(*self._user)
            return self._call(path, body)

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Grpc-Timeout": DEADLINE}
        if self._token:
            headers["Authorization"] = self._token
        try:
            connection = self._connection = self._connection or self._connect()
            connection.request("POST", f"/v3{path}", json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except UNCERTAIN:
            self.close()
            raise
        if response.status != 200:
            self.close()
            raise _error(content)
        answer: dict[str, Any] = json.loads(content)
        return answer

    def _connect(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1")
        if isinstance(self._address, Path):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(TIMEOUT)
            connection.sock.connect(str(self._address))
            return connection
        sock = socket.create_connection(self._address, TIMEOUT)
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_hostname=self._address[0])
        connection.sock = sock
        return connection

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def log_in(self, name: str, password: str) -> None:
        """Get a token, and use it from now on, or another one when it is too old."""
        self.log_out()
        said = self._call("/auth/authenticate", {"name": name, "password": password})
        self._token = said["token"]
        self._user = name, password

    def log_out(self) -> None:
        """Send no token from now on."""
        self._token, self._user = "", None

    def get(self, key: str) -> Stored:
        """Return what a key has, as the majority of the members knows it."""
        found = self.call("/kv/range", {"key": encode(key)}).get("kvs", [])
        for entry in found:
            value = b64decode(entry.get("value", "")).decode()
            return Stored(value, int(entry["mod_revision"]))
        return Stored()

    def put(self, key: str, value: str) -> int:
        """Set a key; return the revision."""
        body = {"key": encode(key), "value": encode(value)}
        return _revision(self.call("/kv/put", body))

    def delete(self, key: str, end: str = "") -> int:
        """Remove a key, or all up to ``end``; return the revision."""
        body = {"key": encode(key), "range_end": encode(end)}
        return _revision(self.call("/kv/deleterange", body))

    def change(self, *operations: Mapping[str, Any]) -> int:
        """Do several things in one transaction; return the revision.

        :param operations: what `putting` and `deleting` return.
        """
        return _revision(self.call("/kv/txn", {"success": operations}))

    def replace(self, key: str, value: str, before: int) -> int | None:
        """Set a key if it has the revision ``before``; return the new one.

        :return: ``None`` if it has another one.
        """
        compare = {"key": encode(key), "target": "MOD", "mod_revision": before}
        body = {"compare": [compare], "success": [putting(key, value)]}
        answer = self.call("/kv/txn", body)
        return _revision(answer) if answer.get("succeeded") else None

    def compact(self, revision: int) -> None:
        """Forget all that is older than a revision."""
        self.call("/kv/compaction", {"revision": revision, "physical": True})


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer["header"]["revision"])


def _error(content: bytes) -> EtcdError:
    """Return the error in the body of a response."""
    try:
        said = json.loads(content)
        return EtcdError(said["code"], said["message"])
    except ValueError:
        return EtcdError(-1, content.decode("latin-1"))


def encode(text: str) -> str:
    """Return text as the gateway reads it."""
    return b64encode(text.encode()).decode()


def putting(key: str, value: str) -> dict[str, Any]:
    """Return the part of a transaction that sets a key."""
    return {"request_put": {"key": encode(key), "value": encode(value)}}


def deleting(key: str) -> dict[str, Any]:
    """Return the part of a transaction that removes a key."""
    return {"request_delete_range": {"key": encode(key)}}
