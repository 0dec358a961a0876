"""Tests of `devlxd.images.directory_images`, beside the contract of `IImageStore`."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.files import open_regular
from devlxd.images import directory_images
from devlxd.images.directory_images import DirectoryImageStore
from devlxd.images.file_names import EXTENSIONS
from devlxd.interfaces import ImageError, IOpenImage
from devlxd.testing import MemoryDevLXDReactor
from tests.descriptors import Descriptors

FINGERPRINT = "0123456789abcdef" * 4


def wait_for_disk(*_: object) -> int:
    """Tell that data are not in memory."""
    raise BlockingIOError


class DirectoryTestCase(SynchronousTestCase):
    """Has a directory of images and a store that hands them out."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.reactor = MemoryDevLXDReactor()
        self.store = DirectoryImageStore(self.path, self.reactor)
        self.descriptors = Descriptors()

    def write(self, suffix: str, content: str) -> Path:
        """Write a file of the image."""
        path = self.path / f"{FINGERPRINT}{suffix}"
        path.write_text(content)
        return path

    def open(self) -> IOpenImage | None:
        """Open the image, if it is there."""
        return self.successResultOf(self.store.open(FINGERPRINT))

    def opened(self) -> IOpenImage:
        """Open the image, which is there."""
        opened = self.open()
        assert opened is not None
        self.addCleanup(opened.close)
        return opened

    def read(self, opened: IOpenImage, start: int = 0, size: int = 100) -> bytes:
        """Read some of it."""
        return self.successResultOf(opened.read(start, size))


class WhoTests(DirectoryTestCase):
    """Which images are handed out."""

    def test_private(self) -> None:
        """Without a description that says so, nobody may have an image."""
        self.write("", "data")
        with capturedLogs() as events:
            self.assertIsNone(self.open())
            for content in ("public: false", "cached: no", "filename: x", "{}"):
                self.write(".yaml", content)
                self.assertIsNone(self.open(), content)
        self.assertEqual(events, [])

    def test_public(self) -> None:
        """A public image and a cached one are handed out."""
        self.write("", "data")
        for content in ("public: true", "cached: yes"):
            self.write(".yaml", content)
            self.assertEqual(self.read(self.opened()), b"data")

    def test_no_directory(self) -> None:
        """A directory that is not there has no images, until it is."""
        store = DirectoryImageStore(self.path / "none", self.reactor)
        self.assertIsNone(self.successResultOf(store.open(FINGERPRINT)))

    def test_names(self) -> None:
        """An image may have an extension, or a name of its own."""
        self.write(".yaml", "public: true")
        # What else may lie beside them is none of them.
        for suffix in (".yaml~", ".rootfs.old", "~", ".sha256", ".tar.xz.part"):
            self.write(suffix, "x")
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("there is none", str(events))
        for extension in EXTENSIONS:
            path = self.write(extension, "data")
            (part,) = self.opened().image.parts
            self.assertEqual(part.filename, f"{FINGERPRINT}{extension}")
            path.unlink()
        self.write("", "BZh")
        (part,) = self.opened().image.parts
        self.assertEqual(part.filename, f"{FINGERPRINT}.tar.bz2")
        self.write(".yaml", "public: true\nfilename: größe")
        (part,) = self.opened().image.parts
        self.assertEqual(part.filename, "größe")

    def test_modified(self) -> None:
        """It is as old as the younger of its files."""
        self.write(".yaml", "public: true")
        os.utime(self.write("", "data"), (0, 1000.9))
        os.utime(self.write(".rootfs", "more"), (0, 999))
        self.assertEqual(self.opened().image.modified, 1000)


class UnusableTests(DirectoryTestCase):
    """What is no image is not there, and the log says why."""

    def assert_unusable(self, *words: str) -> None:
        """Check that there is no image, no file left open, and one line."""
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        (line,) = [str(event["reason"]) for event in events]
        for word in (FINGERPRINT, *words):
            self.assertIn(word, line)
        self.assertEqual(self.descriptors.opened(), [])

    def test_description(self) -> None:
        """A description that says nothing clear."""
        self.write("", "data")
        self.write(".yaml", "public: true\n\tx")
        self.assert_unusable(".yaml:2")
        self.write(".yaml", "public: perhaps")
        self.assert_unusable(".yaml: public: neither")

    def test_links(self) -> None:
        """Links, wherever they lead."""
        outside = Path(tempfile.mkdtemp(dir=".")).absolute() / "secret"
        outside.write_text("public: true")
        inside = self.path.absolute() / "secret"
        inside.write_text("public: true")
        for target in (outside, inside):
            description = self.path / f"{FINGERPRINT}.yaml"
            description.symlink_to(target)
            self.assert_unusable(".yaml: a link")
            description.unlink()
            self.write(".yaml", "public: true")
            for suffix in ("", ".rootfs", ".tar"):
                if suffix == ".rootfs":
                    self.write("", "data")
                link = self.path / f"{FINGERPRINT}{suffix}"
                link.symlink_to(target)
                self.assert_unusable(f"{FINGERPRINT}{suffix}: a link")
                link.unlink()
                (self.path / FINGERPRINT).unlink(missing_ok=True)
            description.unlink()

    def test_no_files(self) -> None:
        """Directories, FIFOs, files that are empty, and none at all."""
        self.write(".yaml", "public: true")
        self.assert_unusable("there is none")
        path = self.path / FINGERPRINT
        os.mkfifo(path)
        self.assert_unusable("not a regular file")
        path.unlink()
        path.mkdir()
        self.assert_unusable("directory")
        path.rmdir()
        path.touch()
        self.assert_unusable("empty")
        path.write_text("data")
        (self.path / f"{FINGERPRINT}.rootfs").mkdir()
        self.assert_unusable(".rootfs", "directory")

    def test_too_many(self) -> None:
        """Two files for one image."""
        self.write(".yaml", "public: true")
        self.write("", "data")
        self.write(".tar", "data")
        self.assert_unusable("more than one", ".tar")

    def test_bounded_log(self) -> None:
        """A guest that asks for it again and again does not fill the log."""
        self.write(".yaml", "?")
        with capturedLogs() as events:
            for _ in range(1000):
                self.assertIsNone(self.open())
        self.assertLess(len(events), 30)


class ChangeTests(DirectoryTestCase):
    """Images that change while they are read."""

    def setUp(self) -> None:
        super().setUp()
        self.write(".yaml", "public: true")
        self.image = self.write("", "the data")

    def test_removed(self) -> None:
        """A removed image is read to its end."""
        opened = self.opened()
        for path in self.path.iterdir():
            path.unlink()
        self.assertEqual(self.read(opened), b"the data")

    def test_replaced(self) -> None:
        """An image that another takes the place of is read as it was."""
        self.write(".rootfs", "the root")
        opened = self.opened()
        for suffix in ("", ".rootfs"):
            other = self.path / "other"
            other.write_text("other data")
            other.rename(self.path / f"{FINGERPRINT}{suffix}")
        self.assertEqual(self.read(opened, 0), b"the data")
        self.assertEqual(self.read(opened, 8), b"the root")

    def test_written(self) -> None:
        """Of an image that somebody writes to nothing more is read."""
        for read_from in (os.preadv, wait_for_disk):
            self.patch(os, "preadv", read_from)
            for content in ("", "the d", "other data", "the DATA"):
                self.image.write_text("the data")
                os.utime(self.image, (0, 0))
                opened = self.opened()
                self.read(opened, 0, 4)
                self.image.write_text(content)
                error = self.failureResultOf(opened.read(4, 4), ImageError).value
                self.assertIn("somebody writes", str(error))

    def test_nothing_there(self) -> None:
        """A disk that gives nothing is not asked again and again."""
        opened = self.opened()
        self.patch(os, "preadv", wait_for_disk)
        self.patch(os, "pread", lambda *_: b"")
        self.failureResultOf(opened.read(4, 4), ImageError)

    def test_replaced_while_opening(self) -> None:
        """Two halves that do not belong together are never handed out."""
        self.write(".rootfs", "the root")
        versions = iter(range(1, 4))

        def open_and_replace(path: Path, flags: int) -> int:
            fd = open_regular(path, flags)
            if path == self.image:
                for version in versions:
                    other = self.path / "other"
                    other.write_text(f"version {version}")
                    other.rename(path)
                    break
            return fd

        self.patch(directory_images, "open_regular", open_and_replace)
        self.assertEqual(self.read(self.opened()), b"version 3")
        self.assertEqual(len(self.descriptors.opened()), 2)
        versions = iter(range(1000))
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("again and again", str(events))
        self.assertEqual(len(self.descriptors.opened()), 2)

    def test_completed_while_opening(self) -> None:
        """A first half that is joined by the second is not taken for all of it."""

        def open_and_complete(path: Path, flags: int) -> int:
            fd = open_regular(path, flags)
            if path == self.image:
                self.write(".rootfs", "the root")
            return fd

        self.patch(directory_images, "open_regular", open_and_complete)
        self.assertEqual(len(self.opened().image.parts), 2)

    def test_removed_at_once(self) -> None:
        """An image that is removed right after it was opened is not there."""

        def open_and_remove(path: Path, flags: int) -> int:
            fd = open_regular(path, flags)
            if path == self.image:
                path.unlink()
            return fd

        self.patch(directory_images, "open_regular", open_and_remove)
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("there is none", str(events))

    def test_removed_while_opening(self) -> None:
        """The first half of an image that is being removed is not an image."""
        rootfs = self.write(".rootfs", "the root")
        lexists = os.path.lexists

        def remove(path: str | Path) -> bool:
            if path == rootfs:
                self.image.unlink(missing_ok=True)
                rootfs.unlink(missing_ok=True)
            return lexists(path)

        self.patch(os.path, "lexists", remove)
        with capturedLogs():
            self.assertIsNone(self.open())
        self.assertEqual(self.descriptors.opened(), [])


class SlowTests(DirectoryTestCase):
    """Disks that are slow, or break."""

    def setUp(self) -> None:
        super().setUp()
        self.write(".yaml", "public: true")
        self.write("", "the data")

    def test_open(self) -> None:
        """Nothing is opened by the reactor itself."""
        self.reactor.threads.held = True
        opening = self.store.open(FINGERPRINT)
        self.assertNoResult(opening)
        self.reactor.threads.release()
        opened = self.successResultOf(opening)
        assert opened is not None
        opened.close()

    def test_close(self) -> None:
        """Nor is anything closed by it: that may free the space of a large file."""
        opened = self.successResultOf(self.store.open(FINGERPRINT))
        assert opened is not None
        self.assertEqual(len(self.descriptors.opened()), 1)
        self.reactor.threads.held = True
        opened.close()
        self.assertEqual(len(self.descriptors.opened()), 1)
        self.reactor.threads.release()
        self.assertEqual(self.descriptors.opened(), [])

    def test_read(self) -> None:
        """What has to come from the disk is waited for by a thread."""
        opened = self.opened()
        self.patch(os, "preadv", wait_for_disk)
        self.reactor.threads.held = True
        reading = opened.read(4, 100)
        self.assertNoResult(reading)
        self.reactor.threads.release()
        self.assertEqual(self.successResultOf(reading), b"data")

    def test_does_not_wait(self) -> None:
        """The reactor reads what need not be waited for, and only that."""
        asked: list[int] = []

        def preadv(fd: int, buffers: list[bytearray], start: int, flags: int) -> int:
            asked.append(flags)
            return os.readv(fd, buffers)

        opened = self.opened()
        self.patch(os, "preadv", preadv)
        self.assertEqual(self.read(opened), b"the data")
        self.assertEqual(asked, [os.RWF_NOWAIT])

    def test_out_of_files(self) -> None:
        """Who has no file descriptor left cannot tell what there is."""

        def exhausted(*_: object) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(directory_images, "open_regular", exhausted)
        self.failureResultOf(self.store.open(FINGERPRINT), ImageError)

    def test_broken(self) -> None:
        """A disk that cannot be read is told of."""

        def broken(*_: object) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        opened = self.opened()
        self.patch(os, "preadv", broken)
        self.patch(os, "pread", broken)
        reading: Deferred[bytes] = opened.read(0, 1)
        error = self.failureResultOf(reading, ImageError).value
        self.assertIn(f"{FINGERPRINT}: Input/output error", str(error))
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("Input/output error", str(events))
