"""Tests of ``docs/openapi/``: schemathesis compares the files with a running devlxd."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import jsonschema_rs
import openapi_spec_validator
import yaml

from devlxd.guestapi.dialects import DIALECTS
from devlxd.images.adding import add_image
from tests.integration.processes import GuestError, ProcessTestCase, run
from tests.integration.servers import DevLXD
from tests.integration.tcp_relay import TCPRelay

ROOT = Path(__file__).parents[2]

#: The directory of the files.
FILES = ROOT / "docs" / "openapi"

#: The module that extends schemathesis.
HOOKS = "tests.integration.schemathesis_hooks"

#: The program, which belongs to this Python.
SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))

#: How often the container changes, in seconds.
PACE = 0.05

#: The status codes of requests that are valid, and of those that are not. Whether a
#: precondition holds, and a range can be satisfied, is not up to the schema.
CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 304, 403, 404, 412, 416]
negative_data_rejection.expected-statuses = [400, 403, 404, 412]
"""


def document(number: int) -> str:
    """Return the document of the container after ``number`` changes."""
    config = {
        "user.foo": "bar",
        "user.with/slash": "größe",
        "user.number": str(number),
        "user.meta-data": "a: b\n",
        "cloud-init.user-data": "#cloud-config\n{}\n",
        "cloud-init.ssh-keys.mine": "root:gh:somebody",
        "security.devlxd.images": "true",
        "security.guestapi.images": "true",
    }
    ipvlan = {"type": "nic", "nictype": "ipvlan"}
    devices = {
        "eth0": {**ipvlan, "mtu": str(1000 + number)},
        "root": {"type": "disk", "path": "/", "pool": "default"},
    }
    if number % 2:
        devices["eth1"] = ipvlan
    return json.dumps({"config": config, "devices": devices})


class OpenAPITests(ProcessTestCase):
    """A container that changes all the time, with images, in each dialect."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="devlxd-openapi-"))
        self.addCleanup(shutil.rmtree, self.directory)
        for name in ("documents", "images", "files"):
            (self.directory / name).mkdir()
        self.add_images()
        self.write_document(0)
        devlxd = DevLXD(
            f"--containers={self.directory}/documents",
            f"--images={self.directory}/images",
            "--assume=c1",
            *(f"--listen={name}=unix:{self.socket(name)}" for name in DIALECTS),
        )
        self.addCleanup(devlxd.stop)
        self.change_document()

    def socket(self, dialect: str) -> Path:
        """Return the path of the socket of a dialect."""
        return self.directory / dialect

    def add_images(self) -> None:
        """Add the images whose fingerprints are examples in the files."""
        paths = [self.directory / "files" / name for name in ("image", "meta", "root")]
        for path, data in zip(paths, (b"an image\n", b"meta", b"root!"), strict=True):
            path.write_bytes(data)
        self.fingerprints = [
            add_image(self.directory / "images", files, public=True)
            for files in (paths[:1], paths[1:])
        ]

    def write_document(self, number: int) -> None:
        """Replace the document of the container."""
        path = self.directory / "new"
        path.write_text(document(number))
        path.rename(self.directory / "documents" / "c1.json")

    def change_document(self) -> None:
        """Change a config key and devices again and again, until the test ends."""
        ended = threading.Event()

        def change() -> None:
            number = 0
            while not ended.wait(PACE):
                number += 1
                self.write_document(number)

        thread = threading.Thread(target=change)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(ended.set)

    def read(self, dialect: str) -> Any:  # noqa: ANN401 # as yaml.safe_load
        """Return the content of the file of a dialect."""
        return yaml.safe_load((FILES / f"{dialect}.yaml").read_text())

    def check(self, dialect: str, file: Path | None = None) -> None:
        """Run schemathesis over the file of a dialect; it finds nothing.

        :raises GuestError: if it finds something.
        """
        configuration = self.directory / "schemathesis.toml"
        configuration.write_text(CONFIGURATION)
        hooks = {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)}
        with TCPRelay(self.socket(dialect)) as relay:
            run(
                *(SCHEMATHESIS, f"--config-file={configuration}", "--no-color"),
                *("run", f"--url={relay.url}", "--checks=all"),
                *("--max-examples=30", "--generation-deterministic"),
                *("--header=Connection: close", "--request-timeout=10"),
                *("--suppress-health-check=all", "--continue-on-failure"),
                "--warnings=off",
                str(file or FILES / f"{dialect}.yaml"),
                env={**os.environ, **hooks},
            )

    def test_wrong(self) -> None:
        """A file with another text of a refusal is found to be wrong."""
        file = self.directory / "apollo.yaml"
        right = (FILES / file.name).read_text()
        self.assertIn('"not found\\n"', right)
        file.write_text(right.replace('"not found\\n"', '"nothing\\n"'))
        error = self.assertRaises(GuestError, self.check, "apollo", file)
        self.assertIn("Response violates schema", str(error))

    def test_lxd(self) -> None:
        """The file of ``lxd`` says what devlxd does."""
        self.check("lxd")

    def test_apollo(self) -> None:
        """The file of ``apollo`` says what devlxd does."""
        self.check("apollo")

    def test_lxd6(self) -> None:
        """The file of ``lxd6`` says what devlxd does."""
        self.check("lxd6")

    def test_incus(self) -> None:
        """The file of ``incus`` says what devlxd does."""
        self.check("incus")

    def test_valid(self) -> None:
        """The files are valid OpenAPI."""
        for dialect in DIALECTS:
            openapi_spec_validator.validate(self.read(dialect))

    def test_images(self) -> None:
        """The examples of fingerprints are those of the images that are served."""
        for name, dialect in DIALECTS.items():
            if dialect.images is not None:
                parameters = self.read(name)["components"]["parameters"]
                examples = parameters["Fingerprint"]["examples"].values()
                found = [example["value"] for example in examples]
                self.assertEqual(found, self.fingerprints)

    def test_events(self) -> None:
        """Each line of a stream of events is as the file says."""
        for dialect in DIALECTS.values():
            if not dialect.events:
                continue
            with TCPRelay(self.socket(dialect.name)) as relay:
                self.check_events(relay.url, self.read(dialect.name))

    def check_events(self, url: str, content: dict[str, Any]) -> None:
        """Read events, one after the other, until each kind has been there."""
        schema = {**content, "$ref": "#/components/schemas/Event"}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        self.assertFalse(validator.is_valid({"timestamp": "x", "type": "lost"}))
        missing = {"lost", "config", "added", "removed", "updated"}
        since = "2000-01-01T00:00:00Z"
        while missing:
            with urlopen(f"{url}/1.0/events?since={quote(since)}") as response:
                event = json.load(response)
            validator.validate(event)
            missing.discard(event["metadata"].get("action", event["type"]))
            since = event["timestamp"]
