"""Requests to a real Incus and to devlxd's ``incus``, and the known differences.

Incus is the reference. Every difference states both values and has a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.integration.comparisons import Case, Difference, Request, differ

#: The config keys that the container has.
CONFIG = {
    "cloud-init.user-data": "#cloud-config\n# a comment\n{}\n",
    "limits.processes": "500",
    "user.": "empty name",
    "user.a/b": "a slash",
    "user.foo": "bar",
    "user.long": "x" * 5000,
    "user.meta-data": "key: <value>",
    "user.sp ace": "a space",
    "user.é": "an é",
}

_JSON = "application/json"
_OCTETS = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"
_ANY = re.compile("(?s).*")

_Differences = tuple[Difference, ...]

#: Of every whole response to a successful GET or HEAD.
_ETAG = differ(
    "an ETag lets guests ask again without a transfer (RFC 9110, 8.8.3)",
    etag=(False, True),
)

_VALUE = differ(
    "values are text that an operator has written, in every dialect",
    content_type=(_OCTETS, _TEXT),
)

_UNKNOWN_PATH = differ(
    "all errors have the words of the dialect, not those of Go's router",
    body=("404 page not found\n", "not found\n"),
)

_BAD_REQUEST = "what is not HTTP gets one response, with nosniff like each error"


def _redirect(target: str) -> _Differences:
    """Return the differences for a path that Incus redirects to ``target``."""
    return differ(
        "only an exact path exists; clients over a UNIX socket rarely follow redirects",
        status=(307, 404),
        content_type=("text/html; charset=utf-8", _TEXT),
        nosniff=(None, "nosniff"),
        location=(target, None),
        body=(f'<a href="{target}">Temporary Redirect</a>.\n\n', "not found\n"),
    )


def _bad_request(body: str = "400 Bad Request") -> _Differences:
    return differ(_BAD_REQUEST, nosniff=(None, "nosniff"), body=(body, "bad request\n"))


def _refused(reason: str, *, both_close: bool = False) -> _Differences:
    """Return the differences for a GET of ``/1.0`` that only devlxd refuses.

    :param both_close: whether Incus, too, closes the connection.
    """
    differences = differ(
        reason,
        status=(200, 400),
        content_type=(_JSON, _TEXT),
        nosniff=(None, "nosniff"),
        body=(_ANY, "bad request\n"),
    )
    if not both_close:
        differences += differ(reason, connection=(None, "close"))
    return differences


def paths() -> Iterator[Case]:
    """Yield GET requests of all kinds of paths."""

    def get(path: str, *differences: _Differences) -> Case:
        return Case(Request("GET", path), sum(differences, ()))

    for path in ("/", "/1.0", "/1.0?x=1", "/1.0/config", "/1.0/config?recursion=0"):
        yield get(path, _ETAG)
    for path in ("/1.0/devices", "http://guest/1.0", "http:///1.0"):
        yield get(path, _ETAG)
    exported = {key: value for key, value in CONFIG.items() if "limits" not in key}
    yield get(
        "/1.0/config?recursion=1",
        _ETAG,
        differ(
            "with recursion=1 a guest reads all values with one request",
            body=(sorted(f"/1.0/config/{key}" for key in exported), exported),
        ),
    )
    for key in (
        *("user.foo", "user%2Efoo", "cloud-init.user-data", "user.", "user.long"),
        *("user.a%2Fb", "user.%C3%A9", "user.é", "user.sp%20ace"),
        "user.foo?recursion=1",
    ):
        yield get(f"/1.0/config/{key}", _ETAG, _VALUE)
    for path in ("/1.0/meta-data", "/1.0/meta-data?x"):
        yield get(path, _ETAG, _VALUE)
    for key in ("limits.processes", "user", "nosuchkey", "volatile.uuid", "USER.foo"):
        yield get(f"/1.0/config/{key}")
    for key in ("user.missing", "cloud-init.missing", "user.%00", f"user.{'x' * 3000}"):
        yield get(f"/1.0/config/{key}")
    for path in ("/1.0/images/0000/export", "/1.0/images/%25/export"):
        yield get(path)
    for path in (
        *("/1.0/", "/1.0/config/", "/1.0/devices/", "/1.0/config/user.foo/"),
        *("/1.0/devices/root", "/1.0/images", "/1.0/images/0000", "/1.0/instances"),
        *("/1.0/ubuntu-pro", "/1.0/nope", "/nope", "/2.0", "/1.0#x"),
    ):
        yield get(path, _UNKNOWN_PATH)
    for path, target in {
        "//1.0": "/1.0",
        "/1.0//config": "/1.0/config",
        "/1.0/../1.0?x=1": "/1.0?x=1",
        "/1.0/./config": "/1.0/config",
    }.items():
        yield get(path, _redirect(target))
    yield get(
        "/1.0/config/user.a/b",
        _ETAG,
        differ(
            "a path can be requested as the list of keys contains it",
            status=(404, 200),
            nosniff=("nosniff", None),
            body=("404 page not found\n", "a slash"),
        ),
    )
    for path in ("/1.0/config/%zz", "/1.0/config/%"):
        yield get(
            path,
            differ(
                "a % that begins no escape stands for itself, in a key that no guest "
                "may read",
                status=(400, 403),
                nosniff=(None, "nosniff"),
                connection=("close", None),
                body=("400 Bad Request", "not authorized\n"),
            ),
        )
    yield get(
        "/1.0/config/%FF",
        differ(
            "what is not UTF-8 is no key",
            status=(403, 404),
            body=("not authorized\n", "not found\n"),
        ),
    )
    yield get(
        "/1.0/config/user." + "x" * 20_000,
        differ(
            "a line of a request has at most 16 KiB",
            status=(404, 400),
            connection=(None, "close"),
            body=("not found\n", "bad request\n"),
        ),
    )
    for path in ("", "1.0"):
        yield get(path, _bad_request())
    asterisk = differ(
        _BAD_REQUEST,
        content_type=(None, _TEXT),
        nosniff=(None, "nosniff"),
        body=("", "bad request\n"),
    )
    yield get("*", asterisk)
    yield Case(
        Request("OPTIONS", "*"),
        asterisk
        + differ(
            "the guest API has no use for OPTIONS",
            status=(200, 400),
            connection=(None, "close"),
        ),
    )
    yield Case(
        Request("CONNECT", "guest:80"),
        differ(
            "a target of a request is a path",
            status=(404, 400),
            body=("404 page not found\n", "bad request\n"),
        ),
    )


#: The status and content type of Incus's responses, whatever the method.
_ANY_METHOD = {
    "/": (200, _JSON),
    "/1.0/config": (200, _JSON),
    "/1.0/config/user.foo": (200, _OCTETS),
    "/1.0/config/user.missing": (404, _TEXT),
    "/1.0/config/nosuchkey": (403, _TEXT),
    "/1.0/devices": (200, _JSON),
    "/1.0/meta-data": (200, _OCTETS),
    "/1.0/images/0000/export": (403, _TEXT),
}


def methods() -> Iterator[Case]:
    """Yield requests with other methods than GET."""
    for path, (status, content_type) in _ANY_METHOD.items():
        differences = _ETAG if status == 200 else ()
        if content_type == _OCTETS:
            differences += _VALUE
        yield Case(Request("HEAD", path), differences)
    yield Case(
        Request("HEAD", "/1.0"),
        _ETAG
        + differ(
            "HEAD is available wherever GET is (RFC 9110, 9.1)",
            status=(405, 200),
            content_type=(_TEXT, _JSON),
            nosniff=("nosniff", None),
            content_length=("26", _ANY),
        ),
    )
    yield Case(
        Request("HEAD", "/nope"),
        differ(_UNKNOWN_PATH[0].reason, content_length=("19", "10")),
    )
    for method in ("PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"):
        for path, (status, content_type) in _ANY_METHOD.items():
            yield Case(Request(method, path), _wrong_method(status, content_type))
        yield Case(Request(method, "/nope"), _UNKNOWN_PATH)
        if method != "PATCH":
            yield Case(
                Request(method, "/1.0"),
                differ(
                    "405 has a header Allow (RFC 9110, 15.5.6), and one text",
                    allow=(None, "GET, HEAD, PATCH"),
                    body=(f'method "{method}" not allowed\n', "method not allowed\n"),
                ),
            )


def _wrong_method(
    status: int, content_type: str, *, nosniff: str | None = None
) -> _Differences:
    """Return the differences for a method that Incus treats like GET.

    :param status: the status of Incus's response; the others are values of headers.
    """
    reason = "a method that does nothing is refused; Incus responds as to GET"
    differences = differ(
        reason,
        status=(status, 405),
        allow=(None, "GET, HEAD"),
        body=(_ANY, "method not allowed\n"),
    )
    if content_type != _TEXT:
        differences += differ(reason, content_type=(content_type, _TEXT))
        if nosniff is None:
            differences += differ(reason, nosniff=(None, "nosniff"))
    return differences


_APPLICATION_JSON = "Content-Type: application/json"

_EMPTY_BODY = differ(
    "an empty body has the type of values, too", content_type=(_OCTETS, _TEXT)
)


def _accepted_only_by_incus(reason: str, body: str) -> _Differences:
    return differ(
        reason,
        status=(200, 400),
        content_type=(_OCTETS, _TEXT),
        nosniff=(None, "nosniff"),
        body=("", body),
    )


_NOT_JSON = "Invalid request body: not JSON\n"
_NOT_OBJECT = "Invalid request body: not an object\n"
_NOT_STRING = "Invalid request body: state is not a string\n"

#: Bodies that are no JSON object with a string, and Incus's and devlxd's error text.
_MALFORMED = {
    b"": ("EOF", _NOT_JSON),
    b" ": ("EOF", _NOT_JSON),
    b'{"state":': ("unexpected EOF", _NOT_JSON),
    b"nope": ("invalid character 'o' in literal null (expecting 'u')", _NOT_JSON),
    b"{'state':'Ready'}": (
        r"invalid character '\'' looking for beginning of object key string",
        _NOT_JSON,
    ),
    b"state=Ready": ("invalid character 's' looking for beginning of value", _NOT_JSON),
    b"\x00": (r"invalid character '\x00' looking for beginning of value", _NOT_JSON),
    b'\xef\xbb\xbf{"state":"Started"}': (
        r"invalid character '\ufeff' looking for beginning of value",
        _NOT_JSON,
    ),
    b'{"state":"Started",}': (
        "invalid character '}' looking for beginning of object key string",
        _NOT_JSON,
    ),
    b"null": ('Invalid state ""', _NOT_OBJECT),
    **{
        body: (
            f"json: cannot unmarshal {kind} into Go value of type api.DevIncusPut",
            _NOT_OBJECT,
        )
        for body, kind in {
            b"[]": "array",
            b'"Ready"': "string",
            b"1": "number",
            b"true": "bool",
        }.items()
    },
    **{
        b'{"state":%b}' % value: (
            f"json: cannot unmarshal {kind} into Go struct field DevIncusPut.state "
            "of type string",
            _NOT_STRING,
        )
        for value, kind in {
            b"1": "number",
            b'["Ready"]': "array",
            b"{}": "object",
            b"true": "bool",
        }.items()
    },
}


def states() -> Iterator[Case]:
    """Yield PATCH requests of the guest state; it is ``Started`` after them."""

    def patch(
        body: bytes | None, *differences: _Differences, header: str = _APPLICATION_JSON
    ) -> Case:
        return Case(
            Request("PATCH", "/1.0", (header,), body), sum(differences, start=())
        )

    yield patch(b'{"state":"Ready"}', _EMPTY_BODY)
    yield Case(Request("GET", "/1.0"), _ETAG)
    form = "Content-Type: application/x-www-form-urlencoded"
    yield patch(b'{"state":"Ready"}', _EMPTY_BODY, header=form)
    yield patch(b'{"state":"Ready"}', _EMPTY_BODY, header="X: no type")
    yield patch(b"{}")
    yield Case(Request("GET", "/1.0"), _ETAG)
    yield patch(b' {"x":1,"state":"Started"}\n', _EMPTY_BODY)
    yield Case(Request("GET", "/1.0"), _ETAG)
    yield patch(
        b'{"STATE":"Started"}',
        _accepted_only_by_incus(
            "names of fields are exact, as in JSON's specification",
            'Invalid state ""\n',
        ),
    )
    for body in (b'{"state":"Started"} garbage', b'{"state":"Started"}{}'):
        yield patch(
            body,
            _accepted_only_by_incus("the body is one JSON value", _NOT_JSON),
        )
    for state in ("x", "ready", "Running", r"a\"b\\é\n\t\u0041", "", "x" * 50):
        yield patch(f'{{"state":"{state}"}}'.encode())
    for body in (b'{"state":null}', b'{"state":"Started","state":"x"}'):
        yield patch(body)
    malformed = "the text does not depend on the implementation of a JSON parser"
    for body, (theirs, ours) in _MALFORMED.items():
        yield patch(body, differ(malformed, body=(f"{theirs}\n", ours)))
    yield patch(None, differ(malformed, body=("EOF\n", _NOT_JSON)))
    yield patch(
        b'{"state":"\xff"}',
        differ(
            "JSON is UTF-8 (RFC 8259, 8.1)",
            body=('Invalid state "\xef\xbf\xbd"\n', _NOT_JSON),
        ),
    )
    escapes = "a state is quoted with JSON's escapes, not with Go's"
    for escaped, theirs, ours in (
        (r"\u0000", r"\x00", r"\u0000"),
        (r"\ud800", "\xef\xbf\xbd", "?"),
        (r"\u2028", r"\u2028", "\xe2\x80\xa8"),
    ):
        yield patch(
            f'{{"state":"{escaped}"}}'.encode(),
            differ(
                escapes,
                body=(f'Invalid state "{theirs}"\n', f'Invalid state "{ours}"\n'),
            ),
        )
    large = "the body of a request has at most 16 KiB"
    yield patch(
        b'{"x":"' + b"y" * 20_000 + b'","state":"Started"}',
        differ(
            large,
            status=(200, 413),
            content_type=(_OCTETS, _TEXT),
            nosniff=(None, "nosniff"),
            connection=(None, "close"),
            body=("", "request too large\n"),
        ),
    )
    yield patch(
        b"[" * 20_000,
        differ(
            large,
            status=(400, 413),
            connection=(None, "close"),
            body=("exceeded max depth\n", "request too large\n"),
        ),
    )
    chunked = ("Transfer-Encoding: chunked",)
    body = b'13\r\n{"state":"Started"}\r\n0\r\n\r\n'
    yield Case(Request("PATCH", "/1.0", chunked, body), _EMPTY_BODY)
    yield Case(
        Request("PATCH", "/1.0", (_APPLICATION_JSON,), b'{"state"', length=40),
        differ(
            "a connection is closed when a request is not complete in time",
            status=(400, 0),
            content_type=(_TEXT, None),
            nosniff=("nosniff", None),
            connection=("close", None),
            body=(re.compile("read unix .*: i/o timeout\n"), _ANY),
        ),
    )


_WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def event_streams() -> Iterator[Case]:
    """Yield requests of event streams; only their heads are compared."""

    def get(*headers: str, query: str = "") -> Request:
        return Request("GET", f"/1.0/events{query}", headers, is_stream=True)

    for query in (
        *("", "?type=", "?type=config", "?type=device", "?type=config,device"),
        *("?type=config,%20device", "?type=config&type=nonsense", "?TYPE=x", "?x=y"),
    ):
        yield Case(get(query=query))
    for types in ("nonsense", "CONFIG", "cloud-init", "config,nonsense"):
        yield Case(
            get(query=f"?type={types}"),
            differ(
                "a stream that stays silent would hide the mistake",
                status=(200, 400),
                content_type=(_JSON, _TEXT),
                connection=("keep-alive", None),
            ),
        )
    yield Case(get(*_WEBSOCKET))
    yield Case(get(*_WEBSOCKET, "Origin: http://guest"))
    connection, upgrade, version, key = _WEBSOCKET
    for headers in (
        (connection, upgrade),
        (upgrade, version, key),
        (connection, upgrade, key),
        (connection, upgrade, version),
        (connection, upgrade, "Sec-WebSocket-Version: 8", key),
        (connection, upgrade, version, "Sec-WebSocket-Key: short"),
        (connection, "Upgrade: h2c"),
    ):
        yield Case(get(*headers))
    yield Case(
        get(*_WEBSOCKET, "Origin: http://elsewhere"),
        differ(
            "no browser sends requests to a UNIX socket, so that Origin means nothing",
            status=(403, 101),
            content_type=(_TEXT, None),
            nosniff=("nosniff", None),
            connection=(None, "Upgrade"),
        ),
    )
    yield Case(
        get(connection, "Upgrade: WebSocket", version, key),
        differ(
            "upper and lower case do not differ (RFC 6455, 4.2.1)",
            status=(200, 101),
            content_type=(_JSON, None),
            nosniff=("nosniff", None),
            connection=("keep-alive", "Upgrade"),
        ),
    )
    yield Case(Request("HEAD", "/1.0/events", is_stream=True))
    for method in ("POST", "PUT", "DELETE"):
        yield Case(
            Request(method, "/1.0/events", is_stream=True),
            differ(
                "a method that does nothing is refused; Incus responds as to GET",
                status=(200, 405),
                content_type=(_JSON, _TEXT),
                allow=(None, "GET, HEAD"),
                connection=("keep-alive", None),
            ),
        )
    yield Case(
        Request("POST", "/1.0/events", _WEBSOCKET, is_stream=True),
        differ("405 has a header Allow (RFC 9110, 15.5.6)", allow=(None, "GET, HEAD")),
    )


def odd_requests() -> Iterator[Case]:
    """Yield GET requests of ``/1.0`` with unusual headers, or that are not HTTP."""

    def get(*headers: str, target: str = "/1.0") -> Request:
        return Request("GET", target, headers)

    for headers in (
        ("Accept: text/html",),
        ("Accept-Encoding: gzip",),
        ('If-None-Match: "x"',),
        ("If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT",),
        ("Range: bytes=0-3",),
        ("Expect: 100-continue",),
        ("Connection: close",),
        ("Connection: keep-alive",),
        ("Content-Length: 0",),
        ("Cookie: a=b", "Authorization: Bearer x", "X-Forwarded-For: 192.0.2.1"),
        ("X: é",),
    ):
        yield Case(get(*headers), _ETAG)
    for host in ("", "x:y:z", "[::1]:80"):
        yield Case(Request("GET", "/1.0", host=host), _ETAG)
    yield Case(Request("GET", "/1.0", body=b"a body"), _ETAG)
    for value in ("a b", "exa/mple", "a@b"):
        yield Case(
            Request("GET", "/1.0", host=value),
            _ETAG
            + differ(
                "the value of Host has no meaning at a UNIX socket",
                status=(400, 200),
                content_type=(_TEXT, _JSON),
                connection=("close", None),
                body=("400 Bad Request: malformed Host header", _ANY),
            ),
        )
    yield Case(
        get("If-None-Match: *"),
        _ETAG
        + differ(
            "conditions are evaluated (RFC 9110, 13.1.2)",
            status=(200, 304),
            content_type=(_JSON, None),
            body=(_ANY, ""),
        ),
    )
    yield Case(
        get("Expect: x"),
        _ETAG
        + differ(
            "an unknown expectation may be ignored (RFC 9110, 10.1.1)",
            status=(417, 200),
            content_type=(None, _JSON),
            connection=("close", None),
            body=("", _ANY),
        ),
    )
    yield from _versions()
    yield from _refused_requests()


def _versions() -> Iterator[Case]:
    def get(version: str, *headers: str, host: str | None = "guest") -> Request:
        return Request("GET", "/1.0", headers, version=version, host=host)

    yield Case(get("HTTP/1.0"), _ETAG)
    yield Case(get("HTTP/1.0", host=None), _ETAG)
    yield Case(
        get("HTTP/1.0", "Connection: keep-alive"),
        _ETAG
        + differ(
            "a connection is kept for HTTP/1.1 only (RFC 9112, 9.3)",
            connection=("keep-alive", None),
        ),
    )
    yield Case(get("HTTP/1.2"), _refused("there is no HTTP/1.2"))
    for version in ("HTTP/0.9", "HTTP/2.0"):
        text = "505 HTTP Version Not Supported: unsupported protocol version"
        yield Case(
            get(version),
            _bad_request(text) + differ(_BAD_REQUEST, status=(505, 400)),
        )
    for version in ("HTTP/11", "http/1.1", "HTTX/1.1", "HTTP/1.1 x", ""):
        yield Case(get(version), _bad_request())


def _refused_requests() -> Iterator[Case]:
    def get(*headers: str, target: str = "/1.0") -> Request:
        return Request("GET", target, headers)

    for request in (
        get("Host: second"),
        get("X-Bad\x01: y"),
        get("No colon"),
        get("Content-Length: -1"),
        get("Content-Length: x"),
        get("Content-Length: 0", "Content-Length: 1"),
        get("Té: y"),
        get(target="/1.0 x"),
        get(target=" /1.0"),
        get(target="/1.0\t"),
        Request("GE(T", "/1.0"),
        Request("", "/1.0"),
    ):
        yield Case(request, _bad_request())
    for request, theirs in (
        (
            Request("GET", "/1.0", host=None),
            "400 Bad Request: missing required Host header",
        ),
        (get(" folded: x"), "400 Bad Request: malformed Host header"),
        (get("X : y"), "400 Bad Request: invalid header name"),
    ):
        yield Case(request, _bad_request(theirs))
    yield Case(
        get("Transfer-Encoding: x"),
        _bad_request("Unsupported transfer encoding")
        + differ(_BAD_REQUEST, status=(501, 400)),
    )
    yield Case(get("X: 1", " folded"), _refused("RFC 9112, 5.2"))
    yield Case(
        get("Transfer-Encoding: chunked", "Content-Length: 3"),
        _refused(
            "a request with two lengths may be an attack (RFC 9112, 6.1)",
            both_close=True,
        ),
    )
    yield Case(get("X: " + "y" * 20_000), _refused("a line has at most 16 KiB"))
    many = [f"X{n}: y" for n in range(200)]
    yield Case(get(*many), _refused("a request has at most 100 headers"))
    yield Case(
        Request("GET", "/1.0", newline="\n"),
        _refused("a proxy may not take a bare LF for the end of a line"),
    )


def other_users() -> Iterator[Case]:
    """Yield requests of a user who is not the container's root."""
    for path in (
        *("/", "/1.0", "/1.0/config", "/1.0/config/user.foo", "/1.0/config/nosuchkey"),
        *("/1.0/devices", "/1.0/meta-data", "/1.0/images/0000/export"),
    ):
        yield Case(Request("GET", path))
    yield Case(Request("HEAD", "/1.0/config"))
    yield Case(Request("PUT", "/1.0"))
    yield Case(Request("PATCH", "/1.0", (), b'{"state":"Ready"}'))
    for query in ("", "?type=nonsense"):
        yield Case(Request("GET", f"/1.0/events{query}"))
    yield Case(Request("GET", "/1.0/events", _WEBSOCKET))
    yield from _unknown_paths(401, "Access denied for non-root user\n")


def _unknown_paths(status: int, text: str) -> Iterator[Case]:
    """Yield requests of unknown paths by a caller who may not use the API.

    :param status: the status of devlxd's response.
    :param text: its body.
    """
    reason = "who may not use the API does not learn which paths exist"
    for method in ("GET", "PUT"):
        yield Case(
            Request(method, "/nope"),
            differ(reason, status=(404, status), body=("404 page not found\n", text)),
        )
    yield Case(
        Request("GET", "//1.0"),
        differ(
            reason,
            status=(307, status),
            content_type=("text/html; charset=utf-8", _TEXT),
            nosniff=(None, "nosniff"),
            location=("/1.0", None),
            body=(_ANY, text),
        ),
    )


def switched_off() -> Iterator[Case]:
    """Yield requests of root while ``security.guestapi`` is false."""
    for path in (
        *("/1.0/config", "/1.0/config/user.foo", "/1.0/config/nosuchkey"),
        *("/1.0/devices", "/1.0/meta-data", "/1.0/images/0000/export", "/1.0/events"),
        "/1.0/events?type=nonsense",
    ):
        yield Case(Request("GET", path))
    yield Case(Request("HEAD", "/1.0/config"))
    yield Case(Request("PUT", "/1.0/config"))
    for body in (b'{"state":"Ready"}', b"nope"):
        yield Case(Request("PATCH", "/1.0", (), body))
    reason = "false switches off the whole API"
    text = "not authorized\n"
    for path in ("/", "/1.0"):
        yield Case(
            Request("GET", path),
            differ(
                reason,
                status=(200, 403),
                content_type=(_JSON, _TEXT),
                nosniff=(None, "nosniff"),
                body=(_ANY, text),
            ),
        )
    yield Case(
        Request("PUT", "/1.0"),
        differ(reason, status=(405, 403), body=('method "PUT" not allowed\n', text)),
    )
    yield from _unknown_paths(403, text)


def switched_off_for_users() -> Iterator[Case]:
    """Yield requests of another user while ``security.guestapi`` is false."""
    for path in ("/", "/1.0", "/1.0/config", "/1.0/config/user.foo"):
        yield Case(
            Request("GET", path),
            differ(
                "the switch is checked first",
                status=(401, 403),
                body=("Access denied for non-root user\n", "not authorized\n"),
            ),
        )


def refused_image(fingerprint: str) -> Iterator[Case]:
    """Yield requests of a guest that may not download images."""
    for name in (fingerprint, "0000"):
        yield Case(Request("GET", f"/1.0/images/{name}/export"))
        yield Case(Request("HEAD", f"/1.0/images/{name}/export"))


def missing_image(fingerprint: str) -> Iterator[Case]:
    """Yield requests of an image that guests may not download."""
    path = f"/1.0/images/{fingerprint}/export"
    reason = "all errors have the form of the guest API, not that of Incus's main API"
    error = {
        "type": "error",
        "status": "",
        "status_code": 0,
        "operation": "",
        "error_code": 404,
        "error": f'Image "{fingerprint}" not found',
        "metadata": None,
    }
    differences = differ(
        reason, content_type=(_JSON, _TEXT), body=(error, "not found\n")
    )
    for request in (
        Request("GET", path),
        Request("GET", path, ("Range: bytes=0-9",)),
        Request("GET", f"{path}?project=other"),
    ):
        yield Case(request, differences)
    yield Case(
        Request("HEAD", path),
        differ(reason, content_type=(_JSON, _TEXT), content_length=(_ANY, "10")),
    )
    yield Case(Request("POST", path), _wrong_method(404, _JSON, nosniff="nosniff"))


def public_image(fingerprint: str) -> Iterator[Case]:
    """Yield requests of a public image that is one file."""
    path = f"/1.0/images/{fingerprint}/export"
    no_type = differ(
        "X-Incus-Type is for files of instances", incus_type=("incus", None)
    )
    for headers in (
        (),
        ("Range: bytes=0-9",),
        ("Range: bytes=-5",),
        ("If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT",),
    ):
        yield Case(Request("GET", path, headers), _ETAG + no_type)
    yield Case(Request("GET", f"{path}?project=other"), _ETAG + no_type)
    yield Case(Request("HEAD", path), _ETAG + no_type)
    yield Case(
        Request("GET", path, ("Range: lines=1",)),
        _ETAG
        + no_type
        + differ(
            "an unknown unit of ranges is ignored (RFC 9110, 14.2)",
            status=(416, 200),
            content_type=(_TEXT, _OCTETS),
            nosniff=("nosniff", None),
            body=("invalid range\n", _ANY),
            accept_ranges=(None, "bytes"),
            last_modified=(None, _ANY),
        ),
    )
    yield Case(
        Request("POST", path),
        _wrong_method(200, _OCTETS)
        + no_type
        + differ(
            "only responses with an image have headers of an image",
            accept_ranges=("bytes", None),
            content_disposition=(f"inline;filename={fingerprint}.tar.gz", None),
            last_modified=(_ANY, None),
        ),
    )
    yield from missing_image(fingerprint[:12])
