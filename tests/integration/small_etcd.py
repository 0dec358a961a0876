"""A real etcd with one member, which starts in a moment."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: How long etcd may take to start, in seconds.
_TIMEOUT = 20.0

#: One member needs no patience. Nothing survives a crash of the host.
_FAST = ("--unsafe-no-fsync", "--heartbeat-interval=2", "--election-timeout=10")

#: The name of the file of its UNIX socket, as etcd makes it.
_SOCKET = "c.sock:0"


def encode(text: str) -> str:
    """Return a text in base64."""
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


class _Connection(http.client.HTTPConnection):
    """A connection to a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("etcd", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """See `http.client.HTTPConnection.connect`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


class SmallEtcd:
    """An etcd in a directory of its own.

    :param flags: more flags. With ``--listen-client-urls``, it listens there as well.
    :ivar path: the path of its UNIX socket.
    :ivar token: the token for requests; empty for none.
    """

    def __init__(self, *flags: str) -> None:
        self._directory = Path(tempfile.mkdtemp())
        self.path = str(self._directory / _SOCKET)
        self.token = ""
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # After a crash etcd does not remove them itself.
        for name in (_SOCKET, "p.sock:0"):
            (self._directory / name).unlink(missing_ok=True)
        urls = [flag for flag in self._flags if "client-urls" not in flag]
        more = [flag.split("=", 1)[1] for flag in self._flags if flag not in urls]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "etcd",
                    "--data-dir=data",
                    f"--listen-client-urls={','.join(['unix://c.sock:0', *more])}",
                    "--advertise-client-urls=http://127.0.0.1:1",
                    "--listen-peer-urls=unix://p.sock:0",
                    "--initial-advertise-peer-urls=http://127.0.0.1:1",
                    "--initial-cluster=default=http://127.0.0.1:1",
                    "--logger=zap",
                    *_FAST,
                    *urls,
                ],
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                status, _ = self.post("/v3/kv/range", {"key": encode("x")})
                # 400 and 401: authentication is on.
                if status in (200, 400, 401):
                    return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "log").read_text())
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Remove all data of an etcd that was killed."""
        shutil.rmtree(self._directory / "data")

    def remove(self) -> None:
        """Kill it, and remove its directory."""
        self.kill()
        shutil.rmtree(self._directory)

    def post(self, path: str, body: Mapping[str, object]) -> tuple[int, Any]:
        """Send a request; return the status and the answer."""
        connection = _Connection(self.path)
        headers = {"Authorization": self.token} if self.token else {}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def call(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 # JSON
        """Send a request; return the answer, which is no error."""
        status, answer = self.post(path, body)
        if status != http.client.OK:
            raise RuntimeError(answer)
        return answer

    def change(self, changes: Mapping[str, str | None]) -> None:
        """Put and remove keys in one transaction; ``None`` removes."""
        operations: list[object] = [
            {"request_delete_range": {"key": encode(key)}}
            if value is None
            else {"request_put": {"key": encode(key), "value": encode(value)}}
            for key, value in changes.items()
        ]
        self.call("/v3/kv/txn", {"success": operations})

    def put(self, key: str, value: str) -> None:
        """Put a key."""
        self.change({key: value})

    def enable_auth(self, user: str, password: str, prefix: str) -> None:
        """Require authentication, with a user who may read below a prefix.

        Root has the password ``root``.
        """
        for name, secret in (("root", "root"), (user, password)):
            self.call("/v3/auth/user/add", {"name": name, "password": secret})
            self.call("/v3/auth/role/add", {"name": name})
            self.call("/v3/auth/user/grant", {"user": name, "role": name})
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permission = {"key": encode(prefix), "range_end": encode(end)}
        self.call("/v3/auth/role/grant", {"name": user, "perm": permission})
        self.call("/v3/auth/enable", {})
        self.log_in()

    def log_in(self) -> None:
        """Get a token for root."""
        self.token = ""
        answer = self.call(
            "/v3/auth/authenticate", {"name": "root", "password": "root"}
        )
        self.token = answer["token"]
