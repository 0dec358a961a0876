"""A real Chromium, driven over its debugging protocol.

https://chromedevtools.github.io/devtools-protocol/ describes the methods.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import connect

from tests.integration.processes import TIMEOUT, GuestError, Output, start, wait_until

#: The arguments of Chromium. It runs as root, without a sandbox, and must not connect
#: to anything but the page.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Browser:
    """A browser with one page.

    :ivar complaints: the texts of errors, warnings and violations of policies that
        the browser has reported.
    """

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="devlxd-browser-")
        output = Output("chromium")
        self._process = start(
            "chromium",
            *_ARGUMENTS,
            f"--user-data-dir={self._profile}",
            "about:blank",
            output=output,
        )
        self._number = 0
        self.complaints: list[str] = []
        try:
            port = wait_until(self._port, "the port of Chromium")
            self._socket = connect(
                wait_until(lambda: _page_of(port), "the page of Chromium"),
                max_size=None,
                open_timeout=TIMEOUT,
            )
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            raise

    def _port(self) -> int | None:
        path = Path(self._profile) / "DevToolsActivePort"
        lines = path.read_text().splitlines() if path.exists() else []
        return int(lines[0]) if lines else None

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            received = json.loads(self._socket.recv(TIMEOUT))
            if received.get("id") == self._number:
                if "error" in received:
                    raise GuestError(f"{method}: {received['error']}")
                result: dict[str, Any] = received["result"]
                return result
            self._note(received)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Log.entryAdded":
            self.complaints.append(event["params"]["entry"]["text"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["params"]["exceptionDetails"]))
        elif event["method"] == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(event["params"]["args"]))

    def open(self, address: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.wait_for(
            "document.readyState === 'complete' && location.href !== 'about:blank'"
        )

    def evaluate(self, script: str) -> object:
        """Return the value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            raise GuestError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for(self, script: str) -> object:
        """Wait until a JavaScript expression has a true value; return the value."""
        return wait_until(lambda: self.evaluate(script), script)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key, such as ``Tab``."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page, in PNG."""
        picture = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(picture["data"]))

    def close(self) -> None:
        """End the browser, and remove what it has stored."""
        self._socket.close()
        self._process.kill()
        self._process.wait(TIMEOUT)
        shutil.rmtree(self._profile, ignore_errors=True)


def _page_of(port: int) -> str | None:
    """Return the address of the debugging socket of the page, if there is a page."""
    with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=TIMEOUT) as response:
        targets = json.loads(response.read())
    addresses = [t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page"]
    return addresses[0] if addresses else None
