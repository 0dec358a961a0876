"""Comparisons of the responses of two servers to the same requests.

A test has a table of `Case` instances: requests, and the known differences between
the responses of the two servers. The requests are sent by a program in a guest, from
one process to both servers. Responses are compared field by field, see `FIELDS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from tests.integration.processes import TIMEOUT

#: Sends requests. Its arguments are a JSON list of requests as Latin-1 text, each with
#: its method and whether its response is a stream, and the paths of two sockets. It
#: prints a list with a pair of responses for each request. The connection of a stream
#: is closed as soon as the header has come.
_PROGRAM = f"""
import json, socket, sys
from http.client import HTTPException, HTTPResponse

def ask(path, request, method, is_stream):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout({TIMEOUT / 3})
    try:
        connection.connect(path)
        connection.sendall(request.encode("latin-1"))
        response = HTTPResponse(connection, method=method)
        response.begin()
        body = b"" if is_stream else response.read()
        return [response.status, response.getheaders(), body.decode("latin-1")]
    except (OSError, HTTPException) as error:
        return [0, [], repr(error)]
    finally:
        connection.close()

requests, *paths = sys.argv[1:]
print(json.dumps(
    [[ask(path, *request) for path in paths] for request in json.loads(requests)]
))
"""

#: The length of all requests that are passed to the program at once, in characters;
#: the kernel accepts arguments of 128 KiB (execve(2), ``MAX_ARG_STRLEN``).
_BATCH = 100_000


@frozen
class Request:
    """A request, with the exact bytes that a guest sends.

    :ivar method: the method.
    :ivar path: the request target.
    :ivar headers: the header lines, besides ``Host`` and ``Content-Length``.
    :ivar body: the body; ``None``: the request has none and no ``Content-Length``. With
        a header ``Transfer-Encoding`` it consists of chunks.
    :ivar host: the value of ``Host``, or ``None`` for none.
    :ivar length: the value of ``Content-Length``; default: the body's length.
    :ivar version: the version in the request line.
    :ivar newline: the end of each line.
    :ivar is_stream: whether a successful response never ends; then only its header
        is compared.
    """

    method: str
    path: str
    headers: tuple[str, ...] = ()
    body: bytes | None = None
    host: str | None = field(default="guest", kw_only=True)
    length: int | None = field(default=None, kw_only=True)
    version: str = field(default="HTTP/1.1", kw_only=True)
    newline: str = field(default="\r\n", kw_only=True)
    is_stream: bool = field(default=False, kw_only=True)

    def encode(self) -> bytes:
        """Return the bytes of the request."""
        lines = [f"{self.method} {self.path} {self.version}"]
        if self.host is not None:
            lines.append(f"Host: {self.host}")
        lines.extend(self.headers)
        has_chunks = any(line.startswith("Transfer-Enc") for line in self.headers)
        if self.body is not None and not has_chunks:
            length = len(self.body) if self.length is None else self.length
            lines.append(f"Content-Length: {length}")
        head = "".join(line + self.newline for line in [*lines, ""])
        return head.encode() + (self.body or b"")


@frozen
class Response:
    """A response.

    :ivar method: the method of the request.
    :ivar status: the status code; 0 if there was no valid response.
    :ivar headers: the values of its headers by their names in lower case.
    :ivar body: the body as Latin-1 text; if there was no valid response, the error.
    """

    method: str
    status: int
    headers: dict[str, str]
    body: str


def _header(name: str) -> Callable[[Response], object]:
    return lambda response: response.headers.get(name)


def _content_length(response: Response) -> object:
    if response.method != "HEAD":
        return None
    return response.headers.get("content-length")


def _body(response: Response) -> object:
    if response.headers.get("content-type") != "application/json":
        return response.body
    try:
        value = json.loads(response.body.encode("latin-1"))
    except ValueError:
        return response.body
    return sorted(value, key=repr) if isinstance(value, list) else value


#: The fields that are compared, and their values:
#:
#: * ``content_length``: for ``HEAD`` only, as otherwise it follows from the body.
#: * ``etag``: whether there is one.
#: * ``body``: the text; of ``application/json`` the value, lists sorted, as Incus and
#:   LXD send lists in any order.
FIELDS: dict[str, Callable[[Response], object]] = {
    "status": lambda response: response.status,
    "content_type": _header("content-type"),
    "nosniff": _header("x-content-type-options"),
    "allow": _header("allow"),
    "location": _header("location"),
    "connection": _header("connection"),
    "etag": lambda response: "etag" in response.headers,
    "content_length": _content_length,
    "body": _body,
}

#: The fields of responses with an image.
IMAGE_FIELDS: dict[str, Callable[[Response], object]] = {
    **FIELDS,
    "accept_ranges": _header("accept-ranges"),
    "content_disposition": _header("content-disposition"),
    "content_range": _header("content-range"),
    "last_modified": _header("last-modified"),
    "incus_type": _header("x-incus-type"),
}


@frozen
class Difference:
    """A known difference between the responses to a request.

    :ivar reason: why devlxd responds otherwise.
    :ivar field: the name of the field, see `FIELDS`.
    :ivar theirs: the value of the field in the peer's response, or a pattern that it
        matches as text.
    :ivar ours: the same of devlxd's response.
    """

    reason: str
    field: str
    theirs: object
    ours: object

    def is_stated(self, theirs: object, ours: object) -> bool:
        """Return whether the values of the field are as stated."""
        return _matches(self.theirs, theirs) and _matches(self.ours, ours)


def _matches(stated: object, value: object) -> bool:
    if isinstance(stated, re.Pattern):
        return stated.fullmatch(str(value)) is not None
    return stated == value


def differ(reason: str, **values: tuple[object, object]) -> tuple[Difference, ...]:
    """Return the differences that have one reason.

    :param values: the peer's value and devlxd's value of each field.
    """
    return tuple(
        Difference(reason, name, theirs, ours)
        for name, (theirs, ours) in values.items()
    )


@frozen
class Case:
    """A row of a table: a request, and the known differences between responses."""

    request: Request
    differences: tuple[Difference, ...] = ()


def exchange(
    run: Callable[..., str], paths: tuple[str, str], requests: Iterable[Request]
) -> list[tuple[Response, Response]]:
    """Send requests from a guest to two servers.

    :param run: runs a command in the guest and returns its stdout.
    :param paths: the sockets of the peer and of devlxd in the guest.
    :return: the peer's and devlxd's response to each request.
    """
    exchanged: list[tuple[Response, Response]] = []
    batch: list[Request] = []
    size = 0
    for request in requests:
        length = 2 * len(request.encode()) + 50
        if batch and size + length > _BATCH:
            exchanged += _exchange(run, paths, batch)
            batch, size = [], 0
        batch.append(request)
        size += length
    return exchanged + _exchange(run, paths, batch)


def _exchange(
    run: Callable[..., str], paths: tuple[str, str], requests: Sequence[Request]
) -> list[tuple[Response, Response]]:
    encoded = json.dumps(
        [[r.encode().decode("latin-1"), r.method, r.is_stream] for r in requests]
    )
    printed = json.loads(run("python3", "-c", _PROGRAM, encoded, *paths))
    return [
        (_response(request, theirs), _response(request, ours))
        for request, (theirs, ours) in zip(requests, printed, strict=True)
    ]


def _response(request: Request, printed: list[Any]) -> Response:
    status, headers, body = printed
    lower = {name.lower(): value for name, value in headers}
    return Response(request.method, status, lower, body)


def unexpected(
    case: Case,
    theirs: Response,
    ours: Response,
    fields: Mapping[str, Callable[[Response], object]] = FIELDS,
) -> list[str]:
    """Compare two responses; return what is not as the case says, in words.

    A field that is not in the case's differences must be equal in both. A field that
    is must have the stated values.
    """
    known = {difference.field: difference for difference in case.differences}
    found = []
    for name, value_of in fields.items():
        got = (value_of(theirs), value_of(ours))
        if name in known:
            if not known[name].is_stated(*got):
                stated = (known[name].theirs, known[name].ours)
                found.append(f"{_title(case)}: {name} is {got}, stated is {stated}")
            elif got[0] == got[1]:
                found.append(f"{_title(case)}: {name} does not differ: {got[0]}")
        elif got[0] != got[1]:
            found.append(f"{_title(case)}: {name} differs: {got}")
    return found


def _title(case: Case) -> str:
    request = case.request
    line = [request.method, request.path, request.version, str(request.host)]
    words = [*(word[:100] for word in (*line, *request.headers[:9]))]
    if request.body is not None:
        words.append(repr(request.body[:60]))
    return " ".join(words)


def compare(
    run: Callable[..., str],
    paths: tuple[str, str],
    cases: Iterable[Case],
    fields: Mapping[str, Callable[[Response], object]] = FIELDS,
) -> list[str]:
    """Send the requests of a table from a guest; return what is not as it says.

    See `exchange` for the parameters, and `unexpected`.
    """
    cases = list(cases)
    responses = exchange(run, paths, [case.request for case in cases])
    return [
        line
        for case, pair in zip(cases, responses, strict=True)
        for line in unexpected(case, *pair, fields)
    ]
