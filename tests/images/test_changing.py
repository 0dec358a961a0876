"""Tests of `devlxd.images.changing`."""

from __future__ import annotations

import os
from pathlib import Path

from devlxd.images.changing import remove_image, set_public
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.image_directory import ImageDirectoryError, NoSuchImageError
from devlxd.interfaces import IOpenImage
from devlxd.testing import MemoryDevLXDReactor
from tests.images.test_listing import ListingTestCase


class ChangingTestCase(ListingTestCase):
    """A base class of tests with a store that serves the directory."""

    def setUp(self) -> None:
        super().setUp()
        self.store = DirectoryImageStore(self.directory, MemoryDevLXDReactor())

    def open(self, fingerprint: str) -> IOpenImage | None:
        """Open an image as for a guest."""
        opened = self.successResultOf(self.store.open(fingerprint))
        if opened is not None:
            self.addCleanup(opened.close)
        return opened

    def make_lxd(self) -> None:
        """Let the directory look like that of an LXD."""
        lxd = self.files / "lxd"
        (lxd / "database").mkdir(parents=True)
        self.directory = self.directory.rename(lxd / "images")


class SetPublicTests(ChangingTestCase):
    """`set_public`."""

    def description(self, added: str) -> Path:
        """Return the path of the description of an image."""
        return self.directory / f"{added}.yaml"

    def test_served(self) -> None:
        """A running devlxd serves an image at once after this, or no longer."""
        added = self.add(b"data", public=False)
        self.assertIsNone(self.open(added))
        image = set_public(self.directory, added[:12], True)
        self.assertTrue(image.description.public)
        self.assertIsNotNone(self.open(added))
        image = set_public(self.directory, added, False)
        self.assertFalse(image.description.public)
        self.assertIsNone(self.open(added))

    def test_rest_stays(self) -> None:
        """The rest of the description, its mode, and the files stay as they are."""
        added = self.add(b"data")
        path = self.description(added)
        path.write_text("# mine\nfilename: 'a b'  # x\npublic: yes # all\nother: [1]\n")
        path.chmod(0o640)
        set_public(self.directory, added, False)
        self.assertEqual(
            path.read_text(),
            "# mine\nfilename: 'a b'  # x\npublic: false # all\nother: [1]\n",
        )
        self.assertEqual(path.stat().st_mode & 0o777, 0o640)
        self.assertEqual(sorted(os.listdir(self.directory)), [added, f"{added}.yaml"])

    def test_unchanged(self) -> None:
        """What is so already is not written again."""
        added = self.add(b"data")
        before = self.description(added).stat()
        set_public(self.directory, added, True)
        self.assertTrue(os.path.samestat(before, self.description(added).stat()))

    def test_no_description(self) -> None:
        """A new description can be read by whoever can read the image."""
        added = self.add(b"data", public=False)
        self.description(added).unlink()
        set_public(self.directory, added, False)
        self.assertFalse(self.description(added).exists())
        (self.directory / added).chmod(0o644)
        set_public(self.directory, added, True)
        self.assertIsNotNone(self.open(added))
        self.assertEqual(self.description(added).stat().st_mode & 0o777, 0o644)

    def test_damaged(self) -> None:
        """A damaged image is not published, a damaged description not replaced."""
        added = self.add(b"data")
        (self.directory / added).unlink()
        error = self.assertRaises(
            ImageDirectoryError, set_public, self.directory, added, True
        )
        self.assertIn("file missing", str(error))
        set_public(self.directory, added, False)
        self.assertIn("public: false", self.description(added).read_text())
        self.description(added).write_text("public: maybe\n")
        for public in (False, True):
            error = self.assertRaises(
                ImageDirectoryError, set_public, self.directory, added, public
            )
            self.assertIn("neither true nor false", str(error))
        self.assertEqual(self.description(added).read_text(), "public: maybe\n")

    def test_unusual(self) -> None:
        """A description that cannot be changed safely stays as it is."""
        added = self.add(b"data")
        text = "filename: &a true\npublic: *a\n"
        self.description(added).write_text(text)
        error = self.assertRaises(
            ImageDirectoryError, set_public, self.directory, added, False
        )
        self.assertIn(f"{added}.yaml: public cannot be changed here", str(error))
        self.assertEqual(self.description(added).read_text(), text)

    def test_interrupted(self) -> None:
        """If this is interrupted before its end, nothing has changed."""
        added = self.add(b"data")
        before = self.description(added).read_text()

        def interrupt(path: Path, target: Path) -> Path:
            raise KeyboardInterrupt

        self.patch(Path, "rename", interrupt)
        self.assertRaises(KeyboardInterrupt, set_public, self.directory, added, False)
        self.assertEqual(self.description(added).read_text(), before)
        self.assertEqual(len(os.listdir(self.directory)), 2)

    def test_directory_of_an_lxd(self) -> None:
        """The directory of an LXD is never changed."""
        added = self.add(b"data")
        self.make_lxd()
        error = self.assertRaises(
            ImageDirectoryError, set_public, self.directory, added, False
        )
        self.assertIn("belongs to an LXD", str(error))


class RemoveTests(ChangingTestCase):
    """`remove_image`."""

    def test_all_files(self) -> None:
        """All files of the image are removed, and no others."""
        other = self.add(b"data")
        added = self.add(b"meta", b"root")
        self.assertEqual(remove_image(self.directory, added).fingerprint, added)
        self.assertEqual(sorted(os.listdir(self.directory)), [other, f"{other}.yaml"])
        self.assertRaises(NoSuchImageError, remove_image, self.directory, added)

    def test_running_download(self) -> None:
        """A download that has begun goes on to its end."""
        added = self.add(b"data")
        opened = self.open(added)
        assert opened is not None
        remove_image(self.directory, added)
        self.assertEqual(self.successResultOf(opened.read(0, 100)), b"data")
        self.assertIsNone(self.open(added))

    def test_order(self) -> None:
        """The description goes first: nobody can download half an image."""
        added = self.add(b"meta", b"root")
        removed: list[str] = []
        unlink = Path.unlink

        def record(path: Path, missing_ok: bool = False) -> None:
            self.assertEqual(self.open(added) is not None, not removed)
            removed.append(path.suffix)
            unlink(path, missing_ok)

        self.patch(Path, "unlink", record)
        remove_image(self.directory, added)
        self.assertEqual(removed, [".yaml", "", ".rootfs"])

    def test_damaged(self) -> None:
        """What is left of a damaged image can be removed."""
        added = self.add(b"meta", b"root")
        (self.directory / added).unlink()
        (self.directory / f"{added}.yaml").write_text("[")
        remove_image(self.directory, added[:1])
        self.assertEqual(os.listdir(self.directory), [])

    def test_not_a_file(self) -> None:
        """What cannot be removed is named."""
        (self.directory / f"{'a' * 64}.rootfs").mkdir()
        error = self.assertRaises(
            ImageDirectoryError, remove_image, self.directory, "a"
        )
        self.assertIn(f"{'a' * 64}.rootfs: ", str(error))

    def test_directory_of_an_lxd(self) -> None:
        """The directory of an LXD is never changed."""
        added = self.add(b"data")
        self.make_lxd()
        error = self.assertRaises(
            ImageDirectoryError, remove_image, self.directory, added
        )
        self.assertIn("belongs to an LXD", str(error))
        self.assertTrue((self.directory / added).exists())
