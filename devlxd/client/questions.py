# -*- test-case-name: tests.client.test_questions -*-
"""The questions of a guest, without input and output.

Each function returns a generator of requests, see `devlxd.client.exchanges.Question`.
Both faces of the library run the same generators.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from devlxd.client.errors import (
    Forbidden,
    GuestError,
    NotFound,
    NotSupported,
    ProtocolError,
    Unavailable,
)
from devlxd.client.exchanges import Question, Request, Response
from devlxd.client.json_values import parse

#: Where a guest finds the socket, in the order in which they are tried.
SOCKETS = ("/dev/lxd/sock", "/dev/incus/sock", "/dev/apollo/sock")

#: The maximum length of the body of a response, in bytes, and of the bodies that make
#: a result together. An image may be longer.
MAX_BODY = 64 * 1024 * 1024

#: The maximum length of an error message of the server, in characters.
MAX_TEXT = 500

#: The exceptions by status code; others are protocol errors, and from 500 on the
#: server is unavailable.
_ERRORS: Mapping[int, type[GuestError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    405: NotSupported,
    429: Unavailable,
    501: NotSupported,
}


def error_of(response: Response) -> GuestError:
    """Return the exception for a response that is not a success."""
    text = response.body[: 4 * MAX_TEXT].decode("utf-8", "replace").strip()
    text = " ".join(text.split())[:MAX_TEXT] or f"status {response.status}"
    default = Unavailable if response.status >= 500 else ProtocolError
    return _ERRORS.get(response.status, default)(text)


def info() -> Question[dict[str, Any]]:
    """Ask for ``/1.0``; the result is its members, and ``dialect``."""
    members = _mapping((yield from _get("/1.0")), "/1.0")
    return {**members, "dialect": (yield from _dialect(members))}


def config() -> Question[dict[str, str]]:
    """Ask for all keys and values of the config.

    devlxd answers it in one request; for others it is one for each key, and a key that
    is removed meanwhile is left out.
    """
    path = "/1.0/config"
    answer = _json((yield from _get(f"{path}?recursion=1")), path)
    if isinstance(answer, dict):
        return {key: _text(value, path) for key, value in answer.items()}
    values: dict[str, str] = {}
    left = MAX_BODY
    for key in _names(answer, f"{path}/"):
        try:
            values[key] = yield from get(key)
        except NotFound:
            continue
        left -= len(values[key])
        _check_left(left, path)
    return values


def get(key: str) -> Question[str]:
    """Ask for the value of a key. Bytes that are not UTF-8 are surrogates (PEP 383)."""
    response = yield from _get(f"/1.0/config/{_quoted(key)}")
    return response.body.decode("utf-8", "surrogateescape")


def devices() -> Question[dict[str, dict[str, str]]]:
    """Ask for all devices, by name.

    A device that is removed meanwhile is left out.

    :raises NotSupported: in a dialect without devices.
    """
    path, at = "/1.0/devices", "/1.0/device/"
    try:
        answer = _json((yield from _get(path)), path)
    except NotFound as error:
        raise NotSupported(f"no devices: {error}") from None
    if isinstance(answer, dict):
        return {name: _device(value, path) for name, value in answer.items()}
    found = {}
    left = MAX_BODY
    for name in _names(answer, at):
        try:
            response = yield from _get(f"{at}{_quoted(name)}")
        except NotFound:
            continue
        left -= len(response.body)
        _check_left(left, path)
        found[name] = _device(_json(response, path), path)
    return found


def device(name: str) -> Question[dict[str, str]]:
    """Ask for one device, in any dialect that has devices."""
    found = yield from devices()
    if name not in found:
        raise NotFound(f"there is no device {name}")
    return found[name]


def meta_data() -> Question[str]:
    """Ask for the meta-data for cloud-init, as YAML."""
    response = yield from _get("/1.0/meta-data")
    return response.body.decode("utf-8", "surrogateescape")


def set_state(state: str) -> Question[None]:
    """Report the state of the guest to the host: ``Ready`` or ``Started``.

    :raises NotSupported: in a dialect without guest states.
    """
    body = json.dumps({"state": state}).encode()
    headers = {"Content-Type": "application/json"}
    response = yield Request("/1.0", "PATCH", body, headers)
    if response.status == 404:
        raise NotSupported(str(error_of(response)))
    if response.status != 200:
        raise error_of(response)
    if response.body:
        # LXD 5.0 answers every method as GET.
        raise NotSupported("the server does not know guest states")


def _get(path: str) -> Question[Response]:
    response = yield Request(path)
    if response.status != 200:
        raise error_of(response)
    return response


def _dialect(members: Mapping[str, Any]) -> Question[str]:
    """Return the dialect of a server by what it has, as it does not name it."""
    if "auth" in members:
        return "lxd6"
    if "state" in members:
        return "incus"
    response = yield Request("/1.0/devices")
    return "apollo" if response.status == 404 else "lxd"


def _json(response: Response, path: str) -> object:
    try:
        return parse(response.body)
    except ValueError:
        raise ProtocolError(f"{path}: the answer is not JSON") from None


def _mapping(response: Response, path: str) -> dict[str, Any]:
    answer = _json(response, path)
    if not isinstance(answer, dict):
        raise ProtocolError(f"{path}: the answer is not an object")
    return answer


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ProtocolError(f"{path}: a value is not text")
    return value


def _device(value: object, path: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{path}: a device is not an object")
    return {key: _text(text, path) for key, text in value.items()}


def _names(answer: object, prefix: str) -> list[str]:
    """Return the names that a list of paths below ``prefix`` has.

    LXD, Incus and devlxd list names as they are, and not percent-encoded.
    """
    if not isinstance(answer, list):
        raise ProtocolError(f"{prefix}: the answer is neither an object nor a list")
    for path in answer:
        if not isinstance(path, str) or not path.startswith(prefix):
            raise ProtocolError(f"{prefix}: the answer lists something else")
    return [path.removeprefix(prefix) for path in answer]


def _quoted(name: str) -> str:
    """Return a name as it is in a path, also if it has no encoding in UTF-8."""
    return quote(name, safe="", errors="surrogatepass")


def _check_left(left: int, path: str) -> None:
    """Raise an exception if the responses of a question are too large together."""
    if left < 0:
        raise ProtocolError(f"{path}: the answers are longer than {MAX_BODY} bytes")
