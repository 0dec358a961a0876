"""Tests of `devlxd.images.listing`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.adding import add_image
from devlxd.images.image_directory import ImageDirectoryError, NoSuchImageError
from devlxd.images.listing import ListedImage, find_image, list_images, verify_image


class ListingTestCase(SynchronousTestCase):
    """A base class of tests with a directory of images."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.files = Path(tempfile.mkdtemp(dir="."))

    def add(self, *data: bytes, public: bool = True) -> str:
        """Add an image; return its fingerprint."""
        paths = [self.files / f"{number}.img" for number in range(len(data))]
        for path, content in zip(paths, data, strict=True):
            path.write_bytes(content)
        return add_image(self.directory, paths, public)

    def only_image(self) -> ListedImage:
        """Return the only image in the directory."""
        (image,) = list_images(self.directory)
        return image


class ListTests(ListingTestCase):
    """`list_images`."""

    def test_whole(self) -> None:
        """Unified and split images, public and private ones, are listed in order."""
        unified = self.add(b"data", public=False)
        split = self.add(b"meta", b"root!")
        images = {image.fingerprint: image for image in list_images(self.directory)}
        self.assertEqual(list(images), sorted([unified, split]))
        image = images[unified]
        self.assertFalse(image.is_split)
        self.assertFalse(image.description.public)
        self.assertEqual(image.description.filename, "0.img")
        self.assertEqual(image.size, 4)
        image = images[split]
        self.assertTrue(image.is_split)
        self.assertTrue(image.description.public)
        names = [(file.name, file.size) for file in image.files]
        self.assertEqual(names, [(split, 4), (f"{split}.rootfs", 5)])
        self.assertIsNone(image.damage)

    def test_no_description(self) -> None:
        """An image without a description is private."""
        (self.directory / f"{'a' * 64}.tar.gz").write_bytes(b"x")
        image = self.only_image()
        self.assertFalse(image.description.public)
        self.assertIsNone(image.damage)

    def test_other_files(self) -> None:
        """Files that belong to no image are not listed."""
        for name in (
            "x",
            "A" * 64,
            "a" * 63,
            "a" * 65,
            f"{'a' * 64}.sha256",
            ".adding",
        ):
            (self.directory / name).touch()
        self.assertEqual(list_images(self.directory), [])

    def test_no_directory(self) -> None:
        """A directory that does not exist is an error."""
        nowhere = self.directory / "none"
        error = self.assertRaises(ImageDirectoryError, list_images, nowhere)
        self.assertEqual(str(error), f"{nowhere}: no such directory")

    def assert_damaged(self, name: str, reason: str) -> None:
        """Check that the only image is damaged: the file, and what is wrong."""
        image = self.only_image()
        self.assertEqual(image.damaged, name)
        self.assertIn(f"/{name}", str(image.damage))
        self.assertTrue(str(image.damage).endswith(reason), image.damage)
        self.assertEqual(verify_image(self.directory, image), image.damage)

    def test_damaged_description(self) -> None:
        """Of a damaged description the file and the line are named."""
        name = f"{self.add(b'data')}.yaml"
        path = self.directory / name
        path.write_text("public: true\nfilename: [\n")
        self.assert_damaged(
            name, ":3: expected the node content, but found '<stream end>'"
        )
        path.write_text("public: maybe\n")
        self.assert_damaged(name, ": public: neither true nor false")
        path.write_bytes(b"x" * 100_000)
        self.assert_damaged(name, "more than 65536 bytes")
        path.unlink()
        path.mkdir()
        self.assert_damaged(name, ": Is a directory")
        path.rmdir()
        path.symlink_to("x")
        self.assert_damaged(name, ": not a regular file")

    def test_damaged_files(self) -> None:
        """An image without its file, with an empty one or too many, is damaged."""
        added = self.add(b"data")
        path = self.directory / added
        path.write_bytes(b"")
        self.assert_damaged(added, ": empty file")
        path.unlink()
        self.assert_damaged(added, ": file missing")
        path.symlink_to("/etc/hostname")
        self.assert_damaged(added, ": not a regular file")
        path.unlink()
        (self.directory / f"{added}.tar").write_bytes(b"data")
        (self.directory / f"{added}.img").write_bytes(b"data")
        self.assert_damaged(f"{added}.img", f": {added}.tar is the same image")

    def test_half(self) -> None:
        """A root file system without metadata is a damaged image."""
        added = self.add(b"meta", b"root")
        (self.directory / added).unlink()
        self.assert_damaged(added, ": file missing")
        self.assertEqual(self.only_image().size, 4)


class FindTests(ListingTestCase):
    """`find_image`."""

    def test_prefix(self) -> None:
        """An image is found by as many digits as distinguish it from the others."""
        first, second = "ab" + "0" * 62, "ac" + "0" * 62
        for name in (first, second):
            (self.directory / name).write_bytes(b"x")
        for prefix in ("ab", first[:12], first):
            self.assertEqual(find_image(self.directory, prefix).fingerprint, first)
        error = self.assertRaises(ImageDirectoryError, find_image, self.directory, "a")
        self.assertEqual(str(error), "a: ambiguous, 2 images begin with it")

    def test_unknown(self) -> None:
        """An image that is not there is an error of its own."""
        error = self.assertRaises(NoSuchImageError, find_image, self.directory, "a")
        self.assertEqual(str(error), f"a: no such image in {self.directory}")


class VerifyTests(ListingTestCase):
    """`verify_image`."""

    def verify(self) -> str | None:
        """Verify the only image."""
        return verify_image(self.directory, self.only_image())

    def test_ok(self) -> None:
        """Unified and split images with the right data are good."""
        self.add(b"data")
        self.add(b"meta", b"root")
        for image in list_images(self.directory):
            self.assertIsNone(verify_image(self.directory, image))

    def test_does_not_match(self) -> None:
        """Other data, and a half too many, are found."""
        added = self.add(b"data")
        (self.directory / f"{added}.rootfs").write_bytes(b"x")
        self.assertEqual(self.verify(), "does not match")
        (self.directory / f"{added}.rootfs").unlink()
        (self.directory / added).write_bytes(b"date")
        self.assertEqual(self.verify(), "does not match")

    def test_removed_meanwhile(self) -> None:
        """A file that goes away before it is read is missing."""
        added = self.add(b"data")
        image = self.only_image()
        (self.directory / added).unlink()
        fault = verify_image(self.directory, image)
        self.assertEqual(fault, f"{self.directory / added}: file missing")

    def test_large(self) -> None:
        """All data counts, however much there is."""
        data = b"x" * 3_000_000
        self.assertEqual(self.add(data), hashlib.sha256(data).hexdigest())
        self.assertIsNone(self.verify())
        with (self.directory / self.only_image().fingerprint).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"y")
        self.assertEqual(self.verify(), "does not match")
