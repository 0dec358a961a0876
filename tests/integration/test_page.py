"""Tests of the page for operators in a real Chromium."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import cast
from urllib.request import urlopen

from tests.integration.browser import Browser
from tests.integration.lxc import missing_requirement, unique_name
from tests.integration.nested import imitated_guest
from tests.integration.processes import TIMEOUT, ProcessTestCase, start
from tests.integration.servers import DevLXD, operators_address

SECRET = "value-that-nobody-may-see"

#: Ask again and again; the arguments are the socket, and a command before curl.
ASK = """
while :; do
    {before} curl -s --unix-socket {socket} http://x/1.0/config/user.secret
    sleep 0.1
done
"""

#: The points of the plot of the rate.
POINTS = "document.getElementById('rate').getAttribute('points').trim()"


class PageTests(ProcessTestCase):
    """The page, with four containers of which one misbehaves."""

    skip = missing_requirement({"chromium": "chromium"})

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="devlxd-page-"))
        self.directory.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.directory)
        self.documents = self.directory / "containers"
        self.documents.mkdir()
        self.names = [unique_name(f"page{n}") for n in range(4)]
        for name in self.names:
            document = f"config: {{user.secret: {SECRET}}}\n"
            (self.documents / f"{name}.yaml").write_text(document)
        self.socket = self.directory / "guests" / "sock"
        self.devlxd = DevLXD(
            f"--containers={self.documents}",
            f"--listen={self.socket.parent}",
            "--admin=tcp:0",
        )
        self.addCleanup(self.devlxd.stop)
        address = operators_address(self.devlxd)
        self.address = f"http://{address}"
        for name in self.names[:-1]:
            self.start_guest(name)
        self.start_guest(self.names[-1], "setpriv --reuid=1000 --clear-groups")
        self.browser = Browser()
        self.addCleanup(self.browser.close)

    def start_guest(self, name: str, before: str = "") -> None:
        """Start a guest that asks ten times a second."""
        script = ASK.format(socket=self.socket, before=before)
        guest = start(*imitated_guest(name, "sh", "-c", script))
        self.addCleanup(_stop, guest)

    def read(self, path: str) -> str:
        """Return what devlxd responds to a request of an operator."""
        with urlopen(self.address + path, timeout=TIMEOUT) as response:
            text: str = response.read().decode()
            return text

    def test_live(self) -> None:
        """The page shows what happens while it happens, without a reload."""
        self.browser.open(self.address)
        self.browser.wait_for(f"{POINTS}.split(' ').length > 2")
        before = self.browser.evaluate(POINTS)
        self.browser.wait_for(f"{POINTS} !== {before!r}")
        bad = self.names[-1]
        self.browser.wait_for(
            "document.getElementById('refusals').textContent"
            f".includes('user not permitted{bad}')"
        )
        (self.documents / "broken.yaml").write_text("config: [\n")
        place = f"{self.documents}/broken.yaml:"
        self.browser.wait_for(
            f"document.getElementById('faults').textContent.includes('{place}')"
        )
        self.assertEqual(self.browser.complaints, [])
        for path in ("/", "/overview", "/metrics", "/healthz"):
            self.assertNotIn(SECRET, self.read(path))

    def test_narrow(self) -> None:
        """On a screen of 400 pixels, nothing is beyond its right edge."""
        self.browser.resize(400, 800)
        self.browser.open(self.address)
        self.browser.wait_for(f"{POINTS}.split(' ').length > 1")
        width = self.browser.evaluate("document.documentElement.scrollWidth")
        self.assertLessEqual(cast(int, width), 400)

    def test_keyboard(self) -> None:
        """Everything that can be used or scrolled is reached with the Tab key."""
        self.browser.open(self.address)
        reached = []
        for _ in range(5):
            self.browser.press("Tab")
            reached.append(
                self.browser.evaluate(
                    "document.activeElement.id || "
                    "document.activeElement.getAttribute('aria-labelledby')"
                )
            )
        self.assertEqual(
            reached,
            [
                "pause",
                "listeners-title",
                "refusals-title",
                "faults-title",
                "containers-title",
            ],
        )
        self.browser.evaluate("document.getElementById('pause').focus()")
        self.browser.press("Enter", "\r")
        self.browser.wait_for("document.getElementById('age').textContent === 'paused'")


def _stop(guest: subprocess.Popen[bytes]) -> None:
    guest.send_signal(signal.SIGKILL)
    guest.wait(TIMEOUT)
