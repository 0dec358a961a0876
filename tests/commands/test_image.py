"""Tests of ``devlxd image``."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from devlxd.images.adding import add_image
from devlxd.images.listing import find_image
from tests.commands.fake_admin import CommandTestCase


class ImageAddTests(CommandTestCase):
    """``devlxd image add``."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.file = Path(tempfile.mkdtemp(dir=".")) / "image.tar"
        self.file.write_bytes(b"data")
        self.fingerprint = hashlib.sha256(b"data").hexdigest()

    def add(self, *arguments: str) -> str:
        """Run ``devlxd image add``; return its output."""
        status = self.run_command(
            "image", "add", f"--images={self.directory}", *arguments
        )
        self.assertEqual(status, 0)
        return self.printed()

    def test_public(self) -> None:
        """The fingerprint is printed; options may follow arguments."""
        printed = self.add(str(self.file), "--public")
        self.assertEqual(printed, f"{self.fingerprint}\n")
        description = self.directory / f"{self.fingerprint}.yaml"
        self.assertEqual(description.read_text(), "public: true\nfilename: image.tar\n")

    def test_json(self) -> None:
        """Programs get the fingerprint as JSON."""
        printed = self.add(str(self.file), "--json")
        self.assertEqual(json.loads(printed), {"fingerprint": self.fingerprint})

    def test_private(self) -> None:
        """By default an image is private."""
        self.add(str(self.file), "--fingerprint", self.fingerprint.upper())
        description = self.directory / f"{self.fingerprint}.yaml"
        self.assertIn("public: false\n", description.read_text())

    def test_split(self) -> None:
        """Two files are one split image."""
        printed = self.add(str(self.file), str(self.file))
        joined = hashlib.sha256(b"datadata").hexdigest()
        self.assertEqual(printed, f"{joined}\n")
        self.assertTrue((self.directory / f"{joined}.rootfs").exists())

    def test_refused(self) -> None:
        """An image that cannot be added is an error of one line, and status 1."""
        for images, file, reason in (
            (str(self.directory), "/nope", "/nope: No such file"),
            ("/nope", str(self.file), "no such directory"),
        ):
            status = self.run_command("image", "add", f"--images={images}", file)
            self.assertEqual(status, 1)
            self.assertIn(reason, self.error())


class ImageTestCase(CommandTestCase):
    """A base class of tests with a directory of one public and one private image."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.file = Path(tempfile.mkdtemp(dir=".")) / "image.tar"
        # Their fingerprints begin with different digits.
        self.public = self.add(b"data", public=True)
        self.private = self.add(b"other", public=False)
        self.assertNotEqual(self.public[0], self.private[0])

    def add(self, data: bytes, public: bool) -> str:
        """Add an image; return its fingerprint."""
        self.file.write_bytes(data)
        return add_image(self.directory, [self.file], public)

    def image(self, *arguments: str) -> int:
        """Run ``devlxd image`` with the directory; return the exit status."""
        return self.run_command("image", *arguments, f"--images={self.directory}")

    def printed_json(self) -> Any:  # noqa: ANN401 # as json.loads
        """Return the value that was printed."""
        return json.loads(self.printed())


class ImageListTests(ImageTestCase):
    """``devlxd image list``."""

    def test_table(self) -> None:
        """Each image is a line that begins as in ``lxc image list``."""
        self.assertEqual(self.image("list"), 0)
        self.assertEqual(
            self.printed(),
            "FINGERPRINT   PUBLIC  SIZE  TYPE     FILENAME\n"
            f"{self.public[:12]}  yes     4B    unified  image.tar\n"
            f"{self.private[:12]}  no      5B    unified  image.tar\n",
        )

    def test_sizes(self) -> None:
        """Sizes have the unit that suits them; large files are not read."""
        for size, shown in (
            (1023, "1023B"),
            (1024, "1.00KiB"),
            (1024**2 - 1, "1024.00KiB"),
            (10 * 1024**3 + 1024**3 // 2, "10.50GiB"),
            (5 * 1024**4, "5.00TiB"),
        ):
            os.truncate(self.directory / self.public, size)
            self.image("list")
            self.assertIn(f" {shown} ", self.printed())

    def test_damaged(self) -> None:
        """Of a damaged image the file to be repaired is named."""
        (self.directory / f"{self.public}.yaml").write_text("public: x\n")
        self.assertEqual(self.image("list"), 0)
        (line,) = [line for line in self.printed().splitlines() if "damaged" in line]
        start = self.public[:12]
        self.assertEqual(
            line.split(), [start, "-", "4B", "damaged", f"{self.public}.yaml"]
        )

    def test_cached(self) -> None:
        """A cached image, which guests may download as well, is not called private."""
        (self.directory / f"{self.private}.yaml").write_text("cached: true\n")
        self.image("list")
        self.assertIn(f"{self.private[:12]}  cached  5B", self.printed())

    def test_empty(self) -> None:
        """An empty directory is said to be empty."""
        self.directory = Path(tempfile.mkdtemp(dir="."))
        for action in ("list", "verify"):
            self.assertEqual(self.image(action), 0)
            self.assertEqual(self.printed(), "no images\n")
            self.assertEqual(self.image(action, "--json"), 0)
            self.assertEqual(self.printed_json(), [])

    def test_json(self) -> None:
        """Programs get all that is known of each image."""
        self.assertEqual(self.image("list", "--json"), 0)
        first, second = self.printed_json()
        self.assertEqual(
            first,
            {
                "fingerprint": self.public,
                "public": True,
                "cached": False,
                "filename": "image.tar",
                "type": "unified",
                "size": 4,
                "files": [{"name": self.public, "size": 4}],
                "damage": None,
            },
        )
        self.assertFalse(second["public"])

    def test_no_directory(self) -> None:
        """A directory that is not there is an error of one line."""
        self.directory = Path("/nope")
        self.assertEqual(self.image("list"), 1)
        self.assertEqual(self.error(), "devlxd: /nope: no such directory")


class ImageShowTests(ImageTestCase):
    """``devlxd image show``, and how all actions find an image."""

    def test_text(self) -> None:
        """An image is shown with its files."""
        self.assertEqual(self.image("show", self.public[:3]), 0)
        self.assertEqual(
            self.printed(),
            f"fingerprint  {self.public}\n"
            "public       yes\n"
            "type         unified\n"
            "size         4B\n"
            "filename     image.tar\n"
            f"files        {self.public} 4B\n",
        )

    def test_damage(self) -> None:
        """It is said what is wrong with a damaged image."""
        (self.directory / self.public).unlink()
        self.assertEqual(self.image("show", self.public), 0)
        self.assertIn("file missing", self.printed())
        self.image("show", self.public, "--json")
        self.assertIn("file missing", self.printed_json()["damage"])

    def test_prefix(self) -> None:
        """Digits may be in upper case; too few are an error of one line."""
        self.image("show", self.public.upper(), "--json")
        self.assertEqual(self.printed_json()["fingerprint"], self.public)
        (self.directory / (self.public[:1] + "0" * 63)).write_bytes(b"x")
        for action in ("show", "verify", "publish", "unpublish", "remove"):
            self.assertEqual(self.image(action, self.public[:1]), 1)
            self.assertIn("ambiguous, 2 images begin with it", self.error())

    def test_unknown(self) -> None:
        """An image that is not there has an exit status of its own."""
        for action in ("show", "verify", "publish", "unpublish", "remove"):
            self.assertEqual(self.image(action, "0000"), 3)
            self.assertIn("0000: no such image in", self.error())

    def test_usage(self) -> None:
        """What is not a fingerprint is a wrong command line."""
        for text in ("", "x", "../a", "a" * 65):
            self.assertEqual(self.image("remove", text), 2)
            self.assertIn("not 1 to 64 hex digits", self.error())


class ImageVerifyTests(ImageTestCase):
    """``devlxd image verify``."""

    def test_good(self) -> None:
        """Good images are said to be good."""
        self.assertEqual(self.image("verify"), 0)
        self.assertEqual(self.printed(), f"{self.public} ok\n{self.private} ok\n")
        self.assertEqual(self.image("verify", self.private), 0)
        self.assertEqual(self.printed(), f"{self.private} ok\n")

    def test_bad(self) -> None:
        """Other images are verified after a bad one; the exit status is 1."""
        (self.directory / self.public).write_bytes(b"date")
        self.assertEqual(self.image("verify"), 1)
        self.assertEqual(
            self.printed(), f"{self.public} does not match\n{self.private} ok\n"
        )
        self.assertEqual(self.image("verify", self.private), 0)
        self.printed()
        (self.directory / self.private).unlink()
        self.assertEqual(self.image("verify", "--json"), 1)
        path = self.directory / self.private
        self.assertEqual(
            self.printed_json(),
            [
                {"fingerprint": self.public, "fault": "does not match"},
                {"fingerprint": self.private, "fault": f"{path}: file missing"},
            ],
        )


class ImageChangeTests(ImageTestCase):
    """``devlxd image publish``, ``unpublish`` and ``remove``."""

    def is_public(self, fingerprint: str) -> bool:
        """Return whether an image is public."""
        return find_image(self.directory, fingerprint).description.public

    def test_publish(self) -> None:
        """Guests may download an image, or no longer; its fingerprint is printed."""
        self.assertEqual(self.image("publish", self.private[:5]), 0)
        self.assertEqual(self.printed(), f"{self.private}\n")
        self.assertTrue(self.is_public(self.private))
        self.assertEqual(self.image("unpublish", self.private[:5], "--json"), 0)
        self.assertFalse(self.printed_json()["public"])
        self.assertFalse(self.is_public(self.private))

    def test_remove(self) -> None:
        """An image is removed; its fingerprint is printed."""
        self.assertEqual(self.image("remove", self.public[:5]), 0)
        self.assertEqual(self.printed(), f"{self.public}\n")
        self.assertEqual(self.image("remove", self.private, "--json"), 0)
        self.assertEqual(self.printed_json()["fingerprint"], self.private)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_directory_of_an_lxd(self) -> None:
        """The images of an LXD can be listed, and are never changed."""
        lxd = Path(tempfile.mkdtemp(dir="."))
        (lxd / "database").mkdir()
        self.directory = self.directory.rename(lxd / "images")
        self.assertEqual(self.image("list"), 0)
        for action in ("publish", "unpublish", "remove"):
            self.assertEqual(self.image(action, self.public), 1)
            self.assertIn("belongs to an LXD", self.error())
        self.assertTrue(self.is_public(self.public))
