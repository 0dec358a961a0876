# -*- test-case-name: tests.integration.test_etcd -*-
"""Listing keys without a reactor, for commands."""

from __future__ import annotations

import http.client
import socket
import ssl

from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.etcd.errors import FAILED_PRECONDITION, EtcdError, TooLargeError
from devlxd.etcd.interfaces import IRangeGateway
from devlxd.etcd.location import EtcdEndpoint, EtcdLocation
from devlxd.etcd.messages import (
    KeyRange,
    KeyValue,
    RangeAnswer,
    RangeRequest,
    authenticate_request,
    parse_error,
    parse_token,
)
from devlxd.etcd.pages import Pages, max_answer
from devlxd.etcd.secret_files import read_password
from devlxd.printable_text import printable

#: The maximum length of an error, in bytes.
_MAX_ERROR = 64 * 1024


class _UNIXConnection(http.client.HTTPConnection):
    """A connection to a UNIX socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("etcd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """See `http.client.HTTPConnection.connect`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@implementer(IRangeGateway)
class BlockingGateway:
    """See `IRangeGateway`; each call blocks.

    :param location: the user, and the files for TLS.
    :param address: the member.
    :ivar endpoint: the address of the member, for people.
    """

    def __init__(self, location: EtcdLocation, address: EtcdEndpoint) -> None:
        self.endpoint = address.text
        self._location = location
        self._address = address
        self._token = ""

    def range(
        self, request: RangeRequest, max_size: int, timeout: float
    ) -> Deferred[RangeAnswer]:
        """See `IEtcdGateway.range`: the Deferred has fired."""
        return execute(self._range, request, max_size, timeout)

    def _range(
        self, request: RangeRequest, max_size: int, timeout: float
    ) -> RangeAnswer:
        if self._location.user and not self._token:
            self._authenticate(timeout)
        body = self._post("/v3/kv/range", request.as_json(), max_size, timeout)
        return RangeAnswer.parse(body, request.keys_only)

    def _authenticate(self, timeout: float) -> None:
        try:
            password = read_password(self._location.password_file)
        except ValueError as error:
            raise EtcdError(str(error)) from None
        request = authenticate_request(self._location.user, password)
        try:
            answer = self._post("/v3/auth/authenticate", request, _MAX_ERROR, timeout)
            self._token = parse_token(answer)
        except EtcdError as error:
            if error.code != FAILED_PRECONDITION:
                raise

    def _post(self, path: str, body: bytes, max_size: int, timeout: float) -> bytes:
        headers = {"Grpc-Metadata-hasleader": "true", "Grpc-Timeout": "2S"}
        if self._token:
            headers["Authorization"] = self._token
        try:
            connection = self._connection(timeout)
            try:
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                content = response.read(max_size + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise EtcdError(printable(reason) or type(error).__name__) from None
        if len(content) > max_size:
            raise TooLargeError(f"the answer is longer than {max_size} bytes")
        if response.status != 200:
            raise parse_error(response.status, content[:_MAX_ERROR])
        return content

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        at, location = self._address, self._location
        if at.path:
            return _UNIXConnection(at.path, timeout)
        if not at.is_tls:
            return http.client.HTTPConnection(at.host, at.port, timeout=timeout)
        context = ssl.create_default_context(cafile=location.ca or None)
        if location.cert:
            context.load_cert_chain(location.cert, location.key)
        return http.client.HTTPSConnection(
            at.host, at.port, timeout=timeout, context=context
        )


def list_keys(gateway: IRangeGateway, keys: KeyRange, max_size: int) -> list[KeyValue]:
    """Return all keys of a range, with their values.

    :param max_size: the maximum length of a value, in bytes; that of a longer one is
        ``None``.
    :raises EtcdError: if the member does not answer.
    """
    found: list[KeyValue] = []
    failures: list[Failure] = []
    pages = Pages(keys, max_answer(max_size))

    async def collect() -> None:
        while not pages.is_complete:
            found.extend((await pages.next(gateway)).kvs)

    # Nothing waits, so that it is complete when this returns.
    Deferred.fromCoroutine(collect()).addErrback(failures.append)
    for failure in failures:
        failure.raiseException()
    return found
