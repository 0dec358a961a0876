"""Requests to a real LXD 5.0.2 and to devlxd, and where the responses differ.

Of the dialects of devlxd, ``incus`` is the closest to LXD 5.0.2, which Incus was made
from: both say ``not authorized`` and ``not found``, begin meta-data with
``#cloud-config``, have all devices in one object, and export ``cloud-init.*``.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import gethostname

from tests.integration.comparisons import Case, Difference, Request, differ

CONFIG = {
    "user.foo": "bar",
    "user.": "a key without a name",
    "user.a/b": "a key with a slash",
    "user.100%": "a key with a percent sign",
    "user.é": "ä",
    "user.sp ace": "a key with a blank",
    "cloud-init.user-data": "#cloud-config\n# a comment\na:   1\n",
    "limits.memory": "1GiB",
}

DEVICES = {
    "eth0": {
        "type": "nic",
        "nictype": "p2p",
        "name": "eth0",
        "hwaddr": "00:16:3e:00:00:01",
    }
}

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_JSON = "application/json"

_PLAIN = (
    "LXD does not say what the bytes are, and cloud-init 22.4 then guesses the "
    "encoding, at times wrongly. Values are text in UTF-8, and devlxd says so"
)
_WORDS = "one text for everything that is not there; clients look at the status"
_STATE = (
    "LXD 5.0.2 does not know the state of a container. Later versions of LXD, and "
    "Incus, send it, and the name of the host as the location, as devlxd does"
)
_METHOD = (
    "LXD 5.0.2 ignores the method, so that DELETE responds as if it had deleted; "
    "RFC 9110, section 15.5.6: 405 with Allow"
)
_PATCH = "LXD 5.0.2 handles PATCH as GET; in Incus it sets the state of the guest"
_CLEAN = (
    "LXD redirects to the path without empty and dot segments, which are no part "
    "of the API; a guest that sends them has made a mistake"
)
_ENTITY = "devlxd sends an ETag, so that a guest can ask for what has changed"
_STRICT = "one response to each invalid request, which says nothing about why"
_CLOSES = "devlxd closes the connection of a request that it does not understand"
_PERCENT = (
    "a percent sign that begins no escape stands for itself: lists of keys are not "
    "percent-encoded, and a guest may ask for what it has read in one"
)


_FACTS = {"api_version": "1.0", "instance_type": "container"}

#: LXD's ``/1.0`` and that of devlxd.
_THEIR_STATE = _FACTS | {"location": "none", "state": ""}
_OUR_STATE = _FACTS | {"location": gethostname(), "state": "Started"}

#: What the guest may read.
_VALUES = {key: value for key, value in CONFIG.items() if key != "limits.memory"}

_KEYS = sorted(f"/1.0/config/{key}" for key in _VALUES)

#: The values of fields, by the names in `tests.integration.comparisons.FIELDS`.
_Fields = dict[str, object]

_DEFAULTS: _Fields = {
    "nosniff": None,
    "allow": None,
    "location": None,
    "connection": None,
    "etag": False,
    "content_length": None,
}


def _response(status: int, content_type: str | None, body: object) -> _Fields:
    return _DEFAULTS | {"status": status, "content_type": content_type, "body": body}


def _refusal(status: int, body: str) -> _Fields:
    return _response(status, _TEXT, body) | {"nosniff": "nosniff"}


_THEIR_404 = _refusal(404, "404 page not found\n")
_OUR_404 = _refusal(404, "not found\n")
_405 = _refusal(405, "method not allowed\n") | {"allow": "GET, HEAD"}
_OUR_400 = _refusal(400, "bad request\n") | {"connection": "close"}


def _their_400(detail: str = "") -> _Fields:
    """Return the response of Go's HTTP server, which LXD does not see."""
    body = f"400 Bad Request{detail}"
    return _response(400, _TEXT, body) | {"connection": "close"}


def _moved(location: str) -> _Fields:
    return _response(301, None, "") | {"location": location}


def _value(text: str) -> _Fields:
    return _response(200, _TEXT, text) | {"etag": True}


def _instead(reason: str, theirs: _Fields, ours: _Fields) -> tuple[Difference, ...]:
    """Return the differences between two responses, with one reason."""
    return differ(
        reason,
        **{
            name: (theirs[name], ours[name])
            for name in ours
            if theirs[name] != ours[name]
        },
    )


_ETAG = differ(_ENTITY, etag=(False, True))
_TEXT_VALUE = _ETAG + differ(_PLAIN, content_type=(_BYTES, _TEXT))
_NOT_FOUND = _instead(_WORDS, _THEIR_404, _OUR_404)
_BAD_REQUEST = _instead(_STRICT, _their_400(), _OUR_400)

#: What ``/1.0`` differs in. Its response depends on the state of the guest, and
#: has an ETag as well.
_STATES = _ETAG + differ(_STATE, body=(_THEIR_STATE, _OUR_STATE))

#: ``GET`` requests by their paths.
_PATHS: dict[str, tuple[Difference, ...]] = {
    "/": _ETAG,
    "/1.0": _STATES,
    "/1.0?x=1": _STATES,
    "/1.0/": _NOT_FOUND,
    "/1.0/config": _ETAG,
    "/1.0/config?x=1": _ETAG,
    "/1.0/config/": _NOT_FOUND,
    "/1.0/config?recursion=1": _ETAG
    + differ("all keys and values with one request", body=(_KEYS, _VALUES)),
    "/1.0/config/user.foo": _TEXT_VALUE,
    "/1.0/config/user.foo?x=1": _TEXT_VALUE,
    "/1.0/config/user%2Efoo": _TEXT_VALUE,
    "/1.0/config/user.foo/": _NOT_FOUND,
    "/1.0/config/user.missing": (),
    "/1.0/config/USER.foo": (),
    "/1.0/config/user": (),
    "/1.0/config/nosuchkey": (),
    "/1.0/config/limits.memory": (),
    "/1.0/config/volatile.uuid": (),
    "/1.0/config/raw.lxc": (),
    "/1.0/config/cloud-init.user-data": _TEXT_VALUE,
    "/1.0/config/cloud-init.missing": (),
    "/1.0/config/user.": _TEXT_VALUE,
    "/1.0/config/user.a%2Fb": _TEXT_VALUE,
    "/1.0/config/user.a/b": _instead(
        "LXD lists the path of this key, and does not know it when it is asked for",
        _THEIR_404,
        _value(CONFIG["user.a/b"]),
    ),
    "/1.0/config/user.%C3%A9": _TEXT_VALUE,
    "/1.0/config/user.\u00e9": _TEXT_VALUE,
    "/1.0/config/user.%FF": (),
    "/1.0/config/user.sp%20ace": _TEXT_VALUE,
    "/1.0/config/user.sp+ace": (),
    "/1.0/config/user.%00": (),
    "/1.0/config/user.100%25": _TEXT_VALUE,
    "/1.0/config/user.100%": _instead(
        _PERCENT, _their_400(), _value(CONFIG["user.100%"])
    ),
    "/1.0/config/%zz": _instead(
        _PERCENT, _their_400(), _refusal(403, "not authorized\n")
    ),
    "/1.0/config/..%2F..%2F1.0": (),
    "/1.0/devices": _ETAG,
    "/1.0/devices/": _NOT_FOUND,
    "/1.0/devices/eth0": _NOT_FOUND,
    "/1.0/device/eth0": _NOT_FOUND,
    "/1.0/meta-data": _TEXT_VALUE,
    "/1.0/meta-data/": _NOT_FOUND,
    "/1.0/images": _NOT_FOUND,
    "/1.0/images/0000": _NOT_FOUND,
    "/1.0/images/0000/export": (),
    "/1.0/images/%25/export": (),
    "/1.0/ubuntu-pro": _NOT_FOUND,
    "/1.0/nope": _NOT_FOUND,
    "/1.1": _NOT_FOUND,
    "/2.0": _NOT_FOUND,
    "/nope": _NOT_FOUND,
    "/1%2E0": _instead(
        "RFC 3986, section 6.2.2.2: %2E is the same as a full stop",
        _THEIR_404,
        _response(200, _JSON, _OUR_STATE) | {"etag": True},
    ),
    "//1.0": _instead(_CLEAN, _moved("/1.0"), _OUR_404),
    "/1.0//config": _instead(_CLEAN, _moved("/1.0/config"), _OUR_404),
    "/1.0/./config": _instead(_CLEAN, _moved("/1.0/config"), _OUR_404),
    "/1.0/../1.0?x=1": _instead(_CLEAN, _moved("/1.0?x=1"), _OUR_404),
    "http://lxd/1.0/config/user.foo": _TEXT_VALUE,
    "http://lxd": _instead(
        "RFC 9112, section 3.2.2: a missing path is the path /",
        _moved("http://lxd/"),
        _response(200, _JSON, ["/1.0"]) | {"etag": True},
    ),
    "1.0": _BAD_REQUEST,
    "*": _instead(_STRICT, _moved("/%2A"), _OUR_400),
}

#: Paths for other methods, and the responses of LXD, which are those to ``GET``.
_THEIRS: dict[str, _Fields] = {
    "/": _response(200, _JSON, ["/1.0"]),
    "/1.0": _response(200, _JSON, _THEIR_STATE),
    "/1.0/config": _response(200, _JSON, _KEYS),
    "/1.0/config/user.foo": _response(200, _BYTES, "bar"),
    "/1.0/config/user.missing": _refusal(404, "not found\n"),
    "/1.0/config/limits.memory": _refusal(403, "not authorized\n"),
    "/nope": _THEIR_404,
}

_METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "BREW", "get")

#: ``HEAD`` requests by their paths.
_HEADS: dict[str, tuple[Difference, ...]] = {
    "/": _ETAG,
    "/1.0": _ETAG
    + differ(_STATE, content_length=("79", str(75 + len(gethostname()) + 7))),
    "/1.0/config": _ETAG,
    "/1.0/config/user.foo": _TEXT_VALUE,
    "/1.0/config/user.missing": (),
    "/1.0/config/limits.memory": (),
    "/1.0/devices": _ETAG,
    "/1.0/meta-data": _TEXT_VALUE,
    "/nope": differ(_WORDS, content_length=("19", "10")),
}

#: Bodies of ``PATCH /1.0``, and the responses of devlxd.
_BODIES = {
    b'{"state":"Ready"}': _response(200, _TEXT, ""),
    b'{"state":"Started"}': _response(200, _TEXT, ""),
    b'{"state":"x"}': _refusal(400, 'Invalid state "x"\n'),
    b"{}": _refusal(400, 'Invalid state ""\n'),
    b'{"state":1}': _refusal(400, "Invalid request body: state is not a string\n"),
    b"[]": _refusal(400, "Invalid request body: not an object\n"),
    b"state=Ready": _refusal(400, "Invalid request body: not JSON\n"),
}

_BAR = _response(200, _BYTES, "bar")

#: Header lines of ``GET /1.0/config/user.foo``.
_HEADERS: dict[str, tuple[Difference, ...]] = {
    **dict.fromkeys(
        (
            "Accept-Encoding: gzip",
            "Accept: text/html",
            "Authorization: Bearer x",
            "Connection: close",
            "Connection: Upgrade",
            "Content-Length: 0",
            "Content-Type: application/json",
            "Cookie: a=b",
            "Expect: 100-continue",
            "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT",
            'If-None-Match: "x"',
            "Origin: http://evil",
            "Range: bytes=0-0",
            "Upgrade: h2c",
            "Upgrade: websocket",
            "X:",
            "X: \u00e9",
        ),
        _TEXT_VALUE,
    ),
    "If-None-Match: *": _instead(
        _ENTITY, _BAR, _response(304, None, "") | {"etag": True}
    ),
    'If-Match: "x"': _instead(_ENTITY, _BAR, _refusal(412, "precondition failed\n")),
    "Expect: x": _instead(
        "RFC 9110, section 10.1.1: an unknown expectation may be ignored",
        _response(417, None, "") | {"connection": "close"},
        _value("bar"),
    ),
    "X : y": _instead(_STRICT, _their_400(": invalid header name"), _OUR_400),
    " X: y": _instead(_STRICT, _their_400(": malformed Host header"), _OUR_400),
    "X": _BAD_REQUEST,
    ": y": _instead("RFC 9110, section 5.1: a name is not empty", _BAR, _OUR_400),
    "X: a\r\n b": _instead(
        "RFC 9112, section 5.2: folded lines are refused or unfolded", _BAR, _OUR_400
    ),
    "X: \x01": _instead(
        "RFC 9110, section 5.5: control characters in unused values do no harm",
        _their_400(": invalid header value"),
        _value("bar"),
    ),
    "Content-Length: -1": _BAD_REQUEST,
    "Content-Length: x": _BAD_REQUEST,
    "Content-Length: 2\r\nContent-Length: 3": _BAD_REQUEST,
    "Host: b": _BAD_REQUEST,
    "Transfer-Encoding: x": _instead(
        _STRICT,
        _response(501, _TEXT, "Unsupported transfer encoding")
        | {"connection": "close"},
        _OUR_400,
    ),
    "X: a\r\n" * 150 + "X: a": _instead(
        "the number of headers is limited, see docs/limits.rst", _BAR, _OUR_400
    ),
}

_FOO = "/1.0/config/user.foo"

#: Requests that differ from those above in the version, the host, the line ends
#: or the body.
_OTHERS = (
    Case(Request("GET", _FOO, version="HTTP/1.0", host=None), _TEXT_VALUE),
    Case(
        Request("GET", _FOO, ("Connection: keep-alive",), version="HTTP/1.0"),
        _TEXT_VALUE
        + differ(
            "devlxd closes connections of HTTP/1.0", connection=("keep-alive", None)
        ),
    ),
    Case(
        Request("GET", _FOO, version="HTTP/1.2"),
        _instead(
            "no client has this version; RFC 9110, section 6.2: SHOULD be accepted",
            _BAR,
            _OUR_400,
        ),
    ),
    Case(
        Request("GET", _FOO, version="HTTP/2.0"),
        _instead(
            _STRICT,
            _response(
                505,
                _TEXT,
                "505 HTTP Version Not Supported: unsupported protocol version",
            )
            | {"connection": "close"},
            _OUR_400,
        ),
    ),
    Case(Request("GET", _FOO, version="HTTP/9"), _BAD_REQUEST),
    Case(Request("GET", _FOO, version=""), _BAD_REQUEST),
    Case(
        Request("GET", _FOO, host=None),
        _instead(_STRICT, _their_400(": missing required Host header"), _OUR_400),
    ),
    Case(Request("GET", _FOO, host=""), _TEXT_VALUE),
    Case(
        Request("GET", _FOO, host="a b"),
        _instead(
            "devlxd does not use the value of Host",
            _their_400(": malformed Host header"),
            _value("bar"),
        ),
    ),
    Case(Request("GET", _FOO, host="other:80"), _TEXT_VALUE),
    Case(
        Request("GET", _FOO, newline="\n"),
        _instead(
            "RFC 9112, section 2.2: lines end with CR LF; to accept LF is optional",
            _BAR,
            _OUR_400,
        ),
    ),
    Case(Request("GET", f" {_FOO}"), _BAD_REQUEST),
    Case(Request("GET", "/1.0/config/user.\0"), _BAD_REQUEST),
    Case(Request("GET", "/1.0/config/user." + "a" * 5000)),
    Case(Request("GET", _FOO, ("X: " + "a" * 6000,)), _TEXT_VALUE),
    Case(Request("GET", _FOO, body=b"body"), _TEXT_VALUE),
    Case(
        Request("OPTIONS", "*"),
        _instead(_STRICT, _response(200, None, ""), _OUR_400),
    ),
)

_EVENTS = "/1.0/events"

_THEIR_STREAM = _refusal(200, "") | {
    "content_type": _JSON,
    "connection": "keep-alive",
}

_UNKNOWN_TYPE = _instead(
    "LXD responds with a stream on which nothing is ever sent",
    _THEIR_STREAM,
    _refusal(400, ""),
)

_HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
_VERSION = "Sec-WebSocket-Version: 13"

#: Queries of requests for events; only the headers of streams are compared.
_QUERIES: dict[str, tuple[Difference, ...]] = {
    "": (),
    "?type=": (),
    "?type=config": (),
    "?type=config,device": (),
    "?type=config&type=device": (),
    "?x=1": (),
    "?type=nonsense": _UNKNOWN_TYPE,
    "?type=CONFIG": _UNKNOWN_TYPE,
    "?type=config,nonsense": _UNKNOWN_TYPE,
    "?type=config,%20device": (),
}


def _handshake(theirs: str, ours: _Fields) -> tuple[Difference, ...]:
    """Return the differences of a handshake that fails."""
    body = f"{theirs}\ninternal server error\n"
    return _instead(
        "LXD responds twice to a handshake that fails",
        ours | {"body": body, "allow": None},
        ours,
    )


_INVALID = _handshake("Bad Request", _refusal(400, "bad request\n"))

#: Further requests for events.
_SUBSCRIPTIONS = (
    Case(
        Request("POST", _EVENTS, is_stream=True),
        _instead(_METHOD, _THEIR_STREAM, _405 | {"body": ""}),
    ),
    Case(Request("HEAD", _EVENTS, is_stream=True)),
    Case(
        Request("GET", _EVENTS, ("Upgrade: WebSocket",), is_stream=True),
        _instead(
            "RFC 6455, section 4.2.1: the case of the word does not matter",
            _THEIR_STREAM,
            _refusal(400, ""),
        ),
    ),
    Case(Request("GET", _EVENTS, ("Upgrade: h2c",), is_stream=True)),
    Case(Request("GET", _EVENTS, (*_HANDSHAKE, _VERSION), is_stream=True)),
    Case(Request("GET", _EVENTS, ("Upgrade: websocket",)), _INVALID),
    Case(Request("GET", _EVENTS, _HANDSHAKE), _INVALID),
    Case(Request("GET", _EVENTS, (*_HANDSHAKE[:2], _VERSION)), _INVALID),
    Case(Request("GET", _EVENTS, (*_HANDSHAKE, "Sec-WebSocket-Version: 12")), _INVALID),
    Case(
        Request("POST", _EVENTS, (*_HANDSHAKE, _VERSION)),
        _handshake("Method Not Allowed", _405),
    ),
    Case(
        Request(
            "GET", _EVENTS, (*_HANDSHAKE, _VERSION, "Origin: http://a"), is_stream=True
        )
    ),
)


def lxd_cases() -> Iterator[Case]:
    """Yield all requests, with the known differences."""
    for path, differences in _PATHS.items():
        yield Case(Request("GET", path), differences)
    for path, differences in _HEADS.items():
        yield Case(Request("HEAD", path), differences)
    for path, theirs in _THEIRS.items():
        ours = _405 | {"allow": "GET, HEAD, PATCH"} if path == "/1.0" else _405
        for method in _METHODS:
            if path == "/nope":
                yield Case(Request(method, path), _NOT_FOUND)
            else:
                yield Case(Request(method, path), _instead(_METHOD, theirs, ours))
    for body, ours in _BODIES.items():
        differences = _instead(_PATCH, _THEIRS["/1.0"], ours)
        yield Case(Request("PATCH", "/1.0", body=body), differences)
    for line, differences in _HEADERS.items():
        yield Case(Request("GET", _FOO, (line,)), differences)
    yield from _OTHERS
    for query, differences in _QUERIES.items():
        yield Case(Request("GET", _EVENTS + query, is_stream=True), differences)
    yield from _SUBSCRIPTIONS


#: Paths for which LXD checks that a user is root.
_USER_PATHS = (
    "/",
    "/1.0",
    "/1.0/config",
    "/1.0/config/user.foo",
    "/1.0/config/user.missing",
    "/1.0/config/limits.memory",
    "/1.0/devices",
    "/1.0/events",
    "/1.0/images/0000/export",
    "/1.0/meta-data",
)

_NOT_ROOT = _refusal(401, "Access denied for non-root user\n")

_NOTHING = "devlxd does not say which paths there are to a user who may not ask"


def user_cases() -> Iterator[Case]:
    """Yield requests of a user other than root, with the known differences."""
    for path in _USER_PATHS:
        for method in ("GET", "HEAD", "PATCH", "BREW"):
            yield Case(Request(method, path))
    unknown = _instead(_NOTHING, _THEIR_404, _NOT_ROOT)
    moved = _instead(_NOTHING, _moved("/1.0"), _NOT_ROOT)
    for method in ("GET", "POST", "BREW"):
        yield Case(Request(method, "/1.0/nope"), unknown)
        yield Case(Request(method, "//1.0"), moved)
