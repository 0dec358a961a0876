"""Requests to a server with the fast path of questions, and to one without.

Both must send the same bytes, and be in the same state after each step. An example has
more than ten requests: ``python -m tests.fuzz --only questions --seed 1 --examples
10000`` compares the responses to 100 000.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import frozen
from hypothesis import strategies as st

from devlxd.guestapi.dialects import DIALECTS
from devlxd.model import Container
from tests.fuzz import requests
from tests.fuzz.mutations import mutated, pieces
from tests.fuzz.question_servers import PIDS, Server
from tests.fuzz.target import Target

#: The heads of well-known clients, without the request line and the end.
CLIENTS = [
    b"Host: lxd\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n",
    b"Host: lxd\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
    b"Host: lxd\r\nUser-Agent: Cloud-Init/24.4\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Accept: */*\r\nConnection: keep-alive\r\n",
    b"Host: lxd\r\nuser-agent: h2load nghttp2/1.64.0\r\n",
    b"Host: lxd\r\n",
    b"Host: localhost\r\nAccept-Encoding: identity\r\n",
    b"Accept-Encoding: gzip\r\nConnection: close\r\nHost: lxd\r\n",
]

#: The first ones exist in all dialects, and are repeated.
TARGETS = [
    *(b"/1.0", b"/1.0/config", b"/1.0/config/user.a", b"/1.0/config/user.large") * 5,
    *(b"/", b"/1.0", b"/1.0/", b"/1.0/config", b"/1.0/config/", b"/1.0/devices"),
    *(b"/1.0/config?recursion=1", b"/1.0/config/user.a", b"/1.0/config/user.a"),
    *(b"/1.0/config/user.b", b"/1.0/config/user.large", b"/1.0/config/user.larger"),
    *(b"/1.0/config/user.A", b"/1.0/config//user.a", b"/1.0/config/user%2Ea"),
    *(b"/1.0/config/limits.cpu", b"/1.0/config/cloud-init.user-data"),
    *(b"/1.0/device/eth0", b"/1.0/meta-data", b"/1.0/meta-data?", b"//1.0", b"*"),
    *(b"/1.0/config/user.a/b", b"/1.0/config/../config", b"http://lxd/1.0"),
    b"/1.0/events",
]

#: Header fields that change a response, or are malformed.
FIELDS = [
    *requests.HEADERS,
    b"connection: Keep-Alive",
    b"Connection: keep-alive, close",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"TE: trailers",
    b"Host: other",
    b"X-A: b",
    b"Accept:",
    b"Accept: \xff",
    b"Accept : */*",
    b" folded",
]

#: What has a meaning in a request.
TOKENS = [*requests.TOKENS, *(b"%b\r\n" % field for field in FIELDS)]

#: A value that is sent in one piece, and one that is not.
LARGE, LARGER = "x" * 32 * 1024, "y" * (32 * 1024 + 1)

CONTAINERS = [
    Container(
        "c1",
        {"user.a": "1", "user.large": LARGE, "user.larger": LARGER, "limits.cpu": "1"},
        {"eth0": {"type": "nic", "nictype": "ipvlan"}},
    ),
    Container("c2", {"user.a": "2", "security.devlxd": "false"}),
]

#: The values that keys are changed to; some of them close the gate.
CHANGES: dict[str, list[str | None]] = {
    "user.a": ["1", "2", None],
    "user.b": ["", "b", None],
    "user.meta-data": ["a: b", None],
    "cloud-init.user-data": ["#cloud-config\n", None],
    "cloud-init.ssh-keys.me": ["me:ssh-ed25519 AAAA", None],
    "security.devlxd": ["false", "true", None],
    "security.devlxd.uids": ["1000", "*", None],
    "security.guestapi": ["false", None],
    "security.devapollo": ["false", None],
    "volatile.uuid": ["x", "y", None],
}

#: The name of a method of `Server`, and its arguments.
Step: TypeAlias = "tuple[str, tuple[Any, ...]]"

_numbers = st.just(0) | st.integers(0, len(PIDS) - 1)
_names = st.sampled_from(["c1", "c1", "c2"])


@frozen
class _Requests:
    """The requests of one example: similar ones, so that responses are kept.

    :ivar targets: their targets.
    :ivar client: the header fields that they have.
    """

    targets: list[bytes]
    client: bytes

    def usual(self) -> st.SearchStrategy[bytes]:
        """Return a usual request of the client."""
        heads = [b"GET %b HTTP/1.1\r\n%b\r\n" % (t, self.client) for t in self.targets]
        return st.sampled_from(heads)

    def other(self) -> st.SearchStrategy[bytes]:
        """Return a request that differs from a usual one in one thing."""
        parts = st.one_of(
            st.tuples(_methods, st.just(b"1.1"), st.just(b""), st.just(b"")),
            st.tuples(st.just(b"GET"), st.just(b"1.0"), st.just(b""), st.just(b"")),
            st.tuples(st.just(b"GET"), st.just(b"1.1"), _fields, st.just(b"")),
            st.tuples(st.just(b"GET"), st.just(b"1.1"), st.just(b""), _fields),
        )
        target = st.sampled_from(self.targets)
        return st.builds(self._request, parts, target)

    def _request(self, parts: tuple[bytes, ...], target: bytes) -> bytes:
        method, version, before, after = parts
        line = b"%b %b HTTP/%b\r\n" % (method, target, version)
        return line + before + self.client + after + b"\r\n"

    def steps(self) -> st.SearchStrategy[list[Step]]:
        """Return steps that send one or several requests, or damaged ones."""
        usual, other = self.usual(), self.other()
        some = st.lists(usual | other, min_size=1, max_size=3).map(b"".join)
        number = st.sampled_from([0, 0, 0, *range(len(PIDS))])
        parts = st.one_of(
            usual.map(_at_once),
            other.map(_at_once),
            other.map(_at_once),
            mutated(usual, TOKENS).map(_at_once),
            _change_of_state.map(_at_once),
            some.map(_at_once),
            pieces(mutated(some, TOKENS)),
        )
        sent = st.tuples(st.just("send"), st.tuples(number, parts))
        written = st.tuples(st.just("write"), st.tuples(number, usual))
        one = st.tuples(st.integers(0, 9), sent, written).map(
            lambda drawn: [drawn[1] if drawn[0] else drawn[2]]
        )
        return one | st.tuples(number, usual).map(_twice)


_change_of_state = st.sampled_from(["Ready", "Started"]).map(
    lambda state: (
        b"PATCH /1.0 HTTP/1.1\r\nHost: lxd\r\nContent-Length: %d\r\n\r\n%b"
        % (len(state) + 12, b'{"state":"%b"}' % state.encode())
    )
)
_methods = st.sampled_from([b"HEAD", b"PATCH", b"get", b"GETX"])
_fields = st.sampled_from([b"%b\r\n" % field for field in FIELDS])


def _at_once(data: bytes) -> list[bytes]:
    return [data]


def _twice(sent: tuple[int, bytes]) -> list[Step]:
    """Return steps after which the response is kept, if that is possible."""
    number, request = sent
    return [("send", (number, [request]))] * 2


@st.composite
def _change(draw: st.DrawFn) -> list[Step]:
    """Return a step that changes something else than what was sent."""
    key = draw(st.just("user.a") | st.sampled_from(list(CHANGES)))
    value = st.sampled_from(CHANGES[key])
    kinds = {
        "put": st.tuples(_names, st.just(key), value),
        "remove": st.tuples(_names),
        "end": st.tuples(st.sampled_from([1, 2])),
        "limit": st.sampled_from(
            [("idle_timeout", 5), ("idle_timeout", 60), ("request_timeout", 1)]
        ),
        "wait": st.tuples(st.sampled_from([0.5, 4.0, 9.5, 10.0, 29.5, 30.0])),
        "stop_reading": st.tuples(_numbers),
        "read": st.tuples(_numbers),
        "half_close": st.tuples(_numbers),
        "disconnect": st.tuples(_numbers),
    }
    kind = draw(st.sampled_from(["put"] * 6 + ["wait"] * 3 + list(kinds)))
    return [(kind, draw(kinds[kind]))]


@st.composite
def _examples(draw: st.DrawFn) -> tuple[str, list[Step]]:
    """Return the name of a dialect, and steps."""
    name = draw(st.sampled_from(list(DIALECTS)))
    targets = draw(st.lists(st.sampled_from(TARGETS), min_size=1, max_size=2))
    sends = _Requests(targets, draw(st.sampled_from(CLIENTS))).steps()
    steps = draw(st.lists(sends | sends | sends | _change(), min_size=4, max_size=16))
    return name, [one for some in steps for one in some]


def check(example: tuple[str, list[Step]]) -> None:
    """Check that both servers are in the same state after each step."""
    name, steps = example
    servers = [Server(DIALECTS[name], CONTAINERS, is_on) for is_on in (True, False)]
    for step, arguments in steps:
        for server in servers:
            getattr(server, step)(*arguments)
        quick, ordinary = (server.state() for server in servers)
        assert quick == ordinary, f"quick: {quick}\nordinary: {ordinary}"
    for server in servers:
        server.close()
    quick, ordinary = (server.state() for server in servers)
    assert quick == ordinary, f"at the end: quick: {quick}\nordinary: {ordinary}"


#: Sequences of requests and of changes.
TARGET = Target("questions", _examples(), check)
