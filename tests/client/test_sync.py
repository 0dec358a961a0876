"""Tests of the questions of the synchronous guest."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from devlxd.client import (
    Forbidden,
    NotFound,
    NotSupported,
    ProtocolError,
    Unavailable,
    questions,
    sync,
)
from devlxd.client.sync import MAX_TIMEOUT, Guest
from tests.client.scripted_server import Peer, ScriptedTestCase, responding, sending


class QuestionTests(ScriptedTestCase):
    """`Guest` asks, and returns what the server answers."""

    def test_info(self) -> None:
        """``info`` also has the dialect, and the socket of the server."""
        path = self.serve(responding((b'{"api_version":"1.0"}', 200), (b"{}", 200)))
        self.assertEqual(
            Guest(path).info(),
            {"api_version": "1.0", "dialect": "lxd", "socket": str(path)},
        )

    def test_config(self) -> None:
        """The keys of a server that only lists them are asked for one by one."""
        keys = b'["/1.0/config/user.a", "/1.0/config/user.b c"]'
        guest = self.guest(responding((keys, 200), (b"1", 200), (b"\xff", 200)))
        self.assertEqual(guest.config(), {"user.a": "1", "user.b c": "\udcff"})
        self.assertEqual(
            self.server.requests,
            [
                b"GET /1.0/config?recursion=1",
                b"GET /1.0/config/user.a",
                b"GET /1.0/config/user.b%20c",
            ],
        )

    def test_get(self) -> None:
        """``get`` returns the value as it is."""
        guest = self.guest(responding((b"a\r\n \n", 200)))
        self.assertEqual(guest.get("user.a"), "a\r\n \n")

    def test_get_empty(self) -> None:
        """A value may be empty."""
        self.assertEqual(self.guest(responding((b"", 200))).get("user.a"), "")

    def test_devices(self) -> None:
        """``devices`` returns all devices, and ``device`` one of them."""
        devices = {"eth0": {"type": "nic"}, "root": {"path": "/"}}
        answer = responding((json.dumps(devices).encode(), 200))
        guest = self.guest(answer, answer)
        self.assertEqual(guest.devices(), devices)
        self.assertEqual(guest.device("root"), {"path": "/"})

    def test_meta_data(self) -> None:
        """``meta_data`` returns the text."""
        guest = self.guest(responding((b"#cloud-config\n", 200)))
        self.assertEqual(guest.meta_data(), "#cloud-config\n")

    def test_ready(self) -> None:
        """``ready`` and ``set_state`` send the state as JSON."""
        received: list[bytes] = []

        def answer(peer: Peer) -> None:
            received.append(peer.request())
            peer.respond(b"")

        guest = self.guest(answer, answer)
        guest.ready()
        guest.set_state("Started")
        bodies = [json.loads(request.split(b"\r\n\r\n")[1]) for request in received]
        self.assertEqual(bodies, [{"state": "Ready"}, {"state": "Started"}])
        self.assertEqual(self.server.requests, [b"PATCH /1.0"] * 2)

    def test_state_of_nobody(self) -> None:
        """LXD 5.0 answers what GET is answered: that is no guest state."""
        guest = self.guest(responding((b'{"api_version":"1.0"}\n', 200)))
        self.assertRaises(NotSupported, guest.ready)

    def test_refusals(self) -> None:
        """Each status code has its exception, with the server's text."""
        for status, kind in {
            401: Forbidden,
            403: Forbidden,
            404: NotFound,
            405: NotSupported,
            500: Unavailable,
            302: ProtocolError,
        }.items():
            guest = self.guest(responding((b"the text\n", status)))
            error = self.assertRaises(kind, guest.get, "user.a")
            self.assertEqual(str(error), "the text")

    def test_closed_between_requests(self) -> None:
        """A server may close the connection after any response."""
        keys = b'["/1.0/config/user.a", "/1.0/config/user.b"]'
        guest = self.guest(
            responding((keys, 200), (b"1", 200)), responding((b"2", 200))
        )
        self.assertEqual(guest.config(), {"user.a": "1", "user.b": "2"})

    def test_said_to_be_closed(self) -> None:
        """A server may say that it closes the connection."""
        keys = b'["/1.0/config/user.a"]'
        head = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"
        guest = self.guest(sending(head + keys), sending(head + b"1"))
        self.assertEqual(guest.config(), {"user.a": "1"})

    def test_chunked(self) -> None:
        """LXD and Incus send longer responses in chunks."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        guest = self.guest(sending(head, b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"))
        self.assertEqual(guest.get("user.a"), "abc")


class SocketTests(ScriptedTestCase):
    """`Guest` finds the server."""

    def test_default(self) -> None:
        """Without a path, the sockets of all servers are tried in turn."""
        missing, served = (
            self.serve().with_name("missing"),
            self.serve(responding((b"1", 200))),
        )
        self.patch(questions, "SOCKETS", (str(missing), str(served)))
        self.assertEqual(Guest().get("user.a"), "1")

    def test_nobody(self) -> None:
        """If no server listens at any of them, one line names them all."""
        self.patch(questions, "SOCKETS", ("/nowhere/a", "/nowhere/b", "x" * 200))
        error = self.assertRaises(Unavailable, Guest().info)
        self.assertEqual(
            str(error),
            "no server: /nowhere/a: No such file or directory, "
            f"/nowhere/b: No such file or directory, {'x' * 200}: "
            "AF_UNIX path too long",
        )

    def test_path_kinds(self) -> None:
        """A path may be text or a `Path`."""
        path = self.serve(responding((b"1", 200)), responding((b"2", 200)))
        self.assertEqual(Guest(path).get("user.a"), "1")
        self.assertEqual(Guest(str(path)).get("user.a"), "2")

    def test_wrong_timeout(self) -> None:
        """A timeout that is none is an error at once."""
        for timeout in (0, -1, float("nan"), float("inf"), MAX_TIMEOUT + 1):
            self.assertRaises(ValueError, Guest, Path("sock"), timeout)

    def test_threads(self) -> None:
        """Threads may share a guest: nobody waits for the answer to another."""
        asked, answered = threading.Event(), threading.Event()

        def wait(peer: Peer) -> None:
            peer.request()
            asked.set()
            answered.wait()
            peer.respond(b"1")

        guest = self.guest(wait, responding((b"2", 200)))
        values: list[str] = []
        thread = threading.Thread(target=lambda: values.append(guest.get("user.a")))
        thread.start()
        asked.wait()
        values.append(guest.get("user.b"))
        answered.set()
        thread.join()
        self.assertEqual(values, ["2", "1"])

    def test_imports(self) -> None:
        """The module imports the standard library alone, and no server."""
        # Without site, so that no package is imported by a file of .pth.
        path = str(Path(sync.__file__).parents[2])
        code = (
            f"import sys; sys.path.append({path!r}); import devlxd.client.sync; "
            "print({name.partition('.')[0] for name in sys.modules} "
            "- set(sys.stdlib_module_names) - {'devlxd', '__main__'})"
        )
        finished = subprocess.run(
            [sys.executable, "-S", "-c", code], capture_output=True, check=True
        )
        self.assertEqual(finished.stdout, b"set()\n")
