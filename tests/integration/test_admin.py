"""Tests of the operator's socket, with curl, of a real devlxd and a real container."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
from typing import Any

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import (
    TIMEOUT,
    Output,
    ProcessTestCase,
    run,
    start,
    wait_until,
)
from tests.integration.servers import TWISTD, DevLXD

#: A value that no operator may see.
SECRET = "s3cr3t-value"

DOCUMENT = f"""
config:
  user.password: {SECRET}
  security.devlxd: "true"
devices:
  disk: {{type: disk, source: {SECRET}}}
"""

#: The command that asks for a path, in the container.
CURL = ["curl", "-sS", "--unix-socket", "/dev/lxd/sock", "-o", "/dev/null"]


class AdminTests(ProcessTestCase):
    """The operator's socket of a devlxd that serves one unprivileged container."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.documents = self.home / "containers"
        self.documents.mkdir()
        self.name = unique_name("admin")
        self.document = self.documents / f"{self.name}.yaml"
        self.document.write_text(DOCUMENT)
        self.socket = self.home / "run" / "admin.sock"
        self.devlxd = self.serve()

    def serve(self) -> DevLXD:
        """Start devlxd."""
        devlxd = DevLXD(
            f"--containers={self.documents}",
            f"--listen=lxd6={self.home}/lxd",
            f"--admin={self.socket}",
            "--admin=tcp:0",
        )
        self.addCleanup(devlxd.stop)
        return devlxd

    def start_guest(self) -> LXCContainer:
        """Start the container."""
        guest = LXCContainer(
            self.name, self.home, 100_000, {self.home / "lxd": "dev/lxd"}
        )
        guest.start()
        self.addCleanup(guest.stop)
        return guest

    def curl(self, path: str, *options: str) -> str:
        """Ask for a path with curl, on the UNIX socket."""
        to = ("--unix-socket", str(self.socket), f"http://devlxd{path}")
        return run("curl", "-sS", *options, *to)

    def ask(self, path: str, *options: str) -> Any:  # noqa: ANN401 # JSON
        """Ask for a path with curl, and return the JSON."""
        return json.loads(self.curl(path, *options))

    def follow(self, path: str) -> Output:
        """Follow the events, and wait until they are followed."""
        output = Output(path)
        to = ("--unix-socket", str(self.socket), f"http://devlxd{path}")
        # curl prints the head at once with -v only, on its stderr.
        process = start("curl", "-sSNv", *to, output=output)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: "x-ndjson" in output.text(), "the head of /events")
        return output

    def wait_for(self, output: Output, event: str, **fields: object) -> dict[str, Any]:
        """Wait for an event with these fields."""

        def find() -> dict[str, Any] | None:
            for line in output.text().splitlines():
                with contextlib.suppress(ValueError):
                    found: dict[str, Any] = json.loads(line)
                    if found.items() >= {"event": event, **fields}.items():
                        return found
            return None

        return wait_until(find, f"the event {event}")

    def tcp(self) -> str:
        """Return the URL of the TCP endpoint."""
        pattern = r"operators are served at (127\.0\.0\.1:\d+)"
        (address,) = re.findall(pattern, "".join(self.devlxd.log))
        return f"http://{address}"

    def test_container(self) -> None:
        """A container is described as it is, and as it changes."""
        self.assertEqual(stat.S_IMODE(self.socket.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.socket.parent.stat().st_mode), 0o700)
        path = f"/containers/{self.name}"
        self.assertEqual(self.ask(path)["run"], None)
        guest = self.start_guest()
        events = self.follow("/events?asked=1")
        guest.run(*CURL, "http://lxd/1.0/config")
        init = guest.init_pid()
        self.wait_for(events, "connected", container=self.name, uid=0, init=init)
        self.wait_for(
            events, "asked", container=self.name, path="/1.0/config", code=200
        )
        self.assertRegex(self.ask(path)["last_question"], r"^20\d\d-.*Z$")
        guest.run(*CURL, "http://lxd/1.0", "-X", "PATCH", "-d", '{"state":"Ready"}')
        self.wait_for(events, "ready", container=self.name)
        self.assertEqual(self.ask(path)["state"], "Ready")
        self.document.write_text(DOCUMENT.replace("user.password", "user.pass"))
        self.wait_for(
            events, "changed", config=["user.pass", "user.password"], devices=[]
        )
        why = self.ask(f"/why?pid={init}")
        self.assertEqual((why["container"], why["refused"]), (self.name, None))
        self.assertNotIn(SECRET, events.text())

    def test_subscriber(self) -> None:
        """A guest that listens has a run, a connection and a subscription."""
        guest = self.start_guest()
        command = ["curl", "-sSN", "--unix-socket", "/dev/lxd/sock"]
        guest.run(
            "sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *command, "lxd/1.0/events"
        )
        wait_until(lambda: self.ask("/status")["subscribers"], "a subscriber")
        (listed,) = self.ask("/containers")
        self.assertEqual(
            (listed["name"], listed["connections"], listed["subscribers"]),
            (self.name, 1, 1),
        )
        self.assertEqual(listed["run"], {"pid": guest.init_pid()})
        self.assertEqual(listed["document"], str(self.document))

    def test_refused(self) -> None:
        """A process of the host is refused, and the operator learns which, and why."""
        events = self.follow("/events")
        run("curl", "-s", "--unix-socket", f"{self.home}/lxd/sock", "http://lxd/1.0")
        refused = self.wait_for(events, "refused", container=None)
        self.assertEqual(refused["reason"], "not in a container")
        self.assertIn("uid 0, command curl", refused["detail"])
        self.assertEqual(self.ask("/status")["refused"], {"not in a container": 1})
        why = self.ask(f"/why?pid={os.getpid()}")
        self.assertEqual((why["pid"], why["container"]), (os.getpid(), None))
        self.assertEqual(why["steps"][-1]["result"], "failed")

    def test_broken(self) -> None:
        """A broken document is named with its line; a gone directory is no health."""
        self.assertEqual(self.curl("/healthz"), "ok\n")
        self.document.write_text("config:\n  user.a: [\n")
        (broken,) = wait_until(
            lambda: [one for one in self.ask("/containers") if one["broken"]],
            "a broken document",
        )
        self.assertEqual(broken["name"], self.name)
        faults = self.ask(f"/containers/{self.name}")["faults"]
        # The line of the bracket, which is not closed.
        self.assertEqual([one["line"] for one in faults if one["breaks"]], [2])
        status = self.ask("/status")
        self.assertEqual(status["containers"], {"known": 1, "broken": 1})
        self.assertTrue(status["healthy"])
        (problem,) = status["problems"]
        self.assertTrue(problem.startswith(f"{self.document}:2: "), problem)
        self.documents.rename(self.home / "gone")
        wait_until(lambda: self.curl("/healthz") != "ok\n", "the directory is missed")
        self.assertFalse(self.ask("/status")["healthy"])

    def test_removed_socket(self) -> None:
        """A socket whose file was removed is no place where devlxd listens."""
        path = self.home / "lxd" / "sock"
        path.rename(path.with_name("moved"))
        self.assertEqual(self.curl("/healthz"), "devlxd listens nowhere\n")
        (listener,) = self.ask("/status")["listeners"]
        self.assertFalse(listener["listening"])
        path.with_name("moved").rename(path)
        self.assertEqual(self.curl("/healthz"), "ok\n")

    def test_no_secrets(self) -> None:
        """No answer at any path has a value of a document."""
        paths = ["/status", "/containers", f"/containers/{self.name}", "/healthz"]
        paths += [f"/why?pid={os.getpid()}", "/metrics", "/", "/overview"]
        answers = "".join(self.curl(path, "-i") for path in paths)
        self.assertEqual(answers.count("HTTP/1.1 200 OK"), len(paths))
        self.assertIn(self.name, answers)
        self.assertNotIn(SECRET, answers)
        self.assertNotIn(SECRET, "".join(self.devlxd.log))

    def test_tcp(self) -> None:
        """At the TCP endpoint there are only those paths that everybody may read."""
        url = self.tcp()
        code = ("-o", "/dev/null", "-w", "%{http_code}")
        for path, expected in (
            ("/healthz", "200"),
            ("/metrics", "200"),
            ("/", "200"),
            ("/overview", "200"),
            ("/status", "404"),
            ("/containers", "404"),
            ("/events", "404"),
            ("/why?pid=1", "404"),
        ):
            self.assertEqual(run("curl", "-sS", *code, url + path), expected, path)
        reload = ("curl", "-sS", *code, "-X", "POST", f"{url}/reload")
        self.assertEqual(run(*reload), "404")
        rebound = ("curl", "-sS", *code, "-H", "Host: evil.example", f"{url}/healthz")
        self.assertEqual(run(*rebound), "403")

    def test_reload(self) -> None:
        """``POST /reload`` reads all documents again; a browser cannot do it."""
        self.assertEqual(
            self.ask("/reload", "-X", "POST", "-H", "Origin: null"),
            {"error": "not from a browser"},
        )
        self.assertEqual(self.ask("/reload", "-X", "POST")["needs_restart"], [])
        self.devlxd.wait_for("reading all documents in")

    def test_restarts(self) -> None:
        """A stopped devlxd ends its streams; the socket of a killed one is replaced."""
        events = self.follow("/events")
        self.devlxd.stop()
        self.assertFalse(self.socket.exists())
        # curl reports a stream that was cut off.
        wait_until(lambda: "* Closing connection" in events.text(), "the end")
        self.assertNotIn("curl:", events.text())
        self.serve().stop(signal.SIGKILL)
        self.assertTrue(self.socket.exists())
        self.serve()
        self.assertTrue(self.ask("/status")["healthy"])

    def test_second(self) -> None:
        """A second devlxd cannot take the socket, and says so in one line."""
        output = Output("a second devlxd")
        second = start(
            *(TWISTD, "-n", "--pidfile=", "devlxd", f"--containers={self.documents}"),
            *(f"--listen={self.home}/other", f"--state={self.home}/other-state"),
            f"--admin={self.socket}",
            output=output,
        )
        self.assertEqual(second.wait(TIMEOUT), 1)
        reason = f"--admin: {self.socket}: another devlxd (pid {self.devlxd.pid})"
        self.assertIn(reason, output.text())
        self.assertEqual(output.text().count("\n"), 1)
