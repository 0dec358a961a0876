"""Tests of `DirectoryImageStore`, in addition to the contract of `IImageStore`."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.files import open_regular
from devlxd.images import image_files
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.file_names import EXTENSIONS
from devlxd.interfaces import IFileImage, ImageError, IOpenImage
from devlxd.model import FileRange
from devlxd.testing import MemoryDevLXDReactor
from tests.descriptors import Descriptors

FINGERPRINT = "0123456789abcdef" * 4


def would_block(*_: object) -> int:
    """Fail as `os.preadv` does if the data is not in the page cache."""
    raise BlockingIOError


class DirectoryTestCase(SynchronousTestCase):
    """A base class with a directory of images, and a store that provides them."""

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
        """Open the image; return ``None`` if it is not found."""
        return self.successResultOf(self.store.open(FINGERPRINT))

    def opened(self) -> IOpenImage:
        """Open the image, which must be found."""
        opened = self.open()
        assert opened is not None
        self.addCleanup(opened.close)
        return opened

    def read(self, opened: IOpenImage, start: int = 0, size: int = 100) -> bytes:
        """Read some of the data of an image."""
        return self.successResultOf(opened.read(start, size))


class FoundTests(DirectoryTestCase):
    """Which images are found."""

    def test_private(self) -> None:
        """An image is private unless its description says otherwise."""
        self.write("", "data")
        with capturedLogs() as events:
            self.assertIsNone(self.open())
            for content in ("public: false", "cached: no", "filename: x", "{}"):
                self.write(".yaml", content)
                self.assertIsNone(self.open(), content)
        self.assertEqual(events, [])

    def test_public(self) -> None:
        """Public and cached images are found."""
        self.write("", "data")
        for content in ("public: true", "cached: yes"):
            self.write(".yaml", content)
            self.assertEqual(self.read(self.opened()), b"data")

    def test_no_directory(self) -> None:
        """A missing directory has no images."""
        store = DirectoryImageStore(self.path / "none", self.reactor)
        self.assertIsNone(self.successResultOf(store.open(FINGERPRINT)))

    def test_names(self) -> None:
        """The file may have an extension; the description may contain a filename."""
        self.write(".yaml", "public: true")
        # Files with similar names are not images.
        for suffix in (".yaml~", ".rootfs.old", "~", ".sha256", ".tar.xz.part"):
            self.write(suffix, "x")
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("no such file", str(events))
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
        """An image was modified when the later of its files was modified."""
        self.write(".yaml", "public: true")
        os.utime(self.write("", "data"), (0, 1000.9))
        os.utime(self.write(".rootfs", "more"), (0, 999))
        self.assertEqual(self.opened().image.modified, 1000)


class UnusableTests(DirectoryTestCase):
    """Files that are not a usable image are not found; the reason is logged."""

    def assert_unusable(self, *words: str) -> None:
        """Check that the image is not found, logged once, and no file stays open."""
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertEqual([event["fingerprint"] for event in events], [FINGERPRINT])
        (line,) = [str(event["reason"]) for event in events]
        for word in (FINGERPRINT, *words):
            self.assertIn(word, line)
        self.assertEqual(self.descriptors.opened(), [])

    def test_description(self) -> None:
        """An image with a malformed description is not found."""
        self.write("", "data")
        self.write(".yaml", "public: true\n\tx")
        self.assert_unusable(".yaml:2")
        self.write(".yaml", "public: perhaps")
        self.assert_unusable(".yaml: public: neither")

    def test_links(self) -> None:
        """Symbolic links are not followed, whatever their target."""
        outside = Path(tempfile.mkdtemp(dir=".")).absolute() / "secret"
        outside.write_text("public: true")
        inside = self.path.absolute() / "secret"
        inside.write_text("public: true")
        for target in (outside, inside):
            description = self.path / f"{FINGERPRINT}.yaml"
            description.symlink_to(target)
            self.assert_unusable(".yaml: a symbolic link")
            description.unlink()
            self.write(".yaml", "public: true")
            for suffix in ("", ".rootfs", ".tar"):
                if suffix == ".rootfs":
                    self.write("", "data")
                link = self.path / f"{FINGERPRINT}{suffix}"
                link.symlink_to(target)
                self.assert_unusable(f"{FINGERPRINT}{suffix}: a symbolic link")
                link.unlink()
                (self.path / FINGERPRINT).unlink(missing_ok=True)
            description.unlink()

    def test_not_regular(self) -> None:
        """A missing file, a FIFO, a directory and an empty file are not images."""
        self.write(".yaml", "public: true")
        self.assert_unusable("no such file")
        path = self.path / FINGERPRINT
        os.mkfifo(path)
        self.assert_unusable("not a regular file")
        path.unlink()
        path.mkdir()
        self.assert_unusable("directory")
        path.rmdir()
        path.touch()
        self.assert_unusable("empty file")
        path.write_text("data")
        (self.path / f"{FINGERPRINT}.rootfs").mkdir()
        self.assert_unusable(".rootfs", "directory")

    def test_too_many(self) -> None:
        """An image with two files of different extensions is not found."""
        self.write(".yaml", "public: true")
        self.write("", "data")
        self.write(".tar", "data")
        self.assert_unusable("more than one", ".tar")

    def test_bounded_log(self) -> None:
        """The log lines about one image are limited."""
        self.write(".yaml", "?")
        with capturedLogs() as events:
            for _ in range(1000):
                self.assertIsNone(self.open())
        self.assertLess(len(events), 30)


class ChangeTests(DirectoryTestCase):
    """Images that change while they are open."""

    def setUp(self) -> None:
        super().setUp()
        self.write(".yaml", "public: true")
        self.image = self.write("", "the data")

    def test_removed(self) -> None:
        """A removed image stays readable."""
        opened = self.opened()
        for path in self.path.iterdir():
            path.unlink()
        self.assertEqual(self.read(opened), b"the data")

    def test_replaced(self) -> None:
        """A replaced image is read as it was."""
        self.write(".rootfs", "the root")
        opened = self.opened()
        for suffix in ("", ".rootfs"):
            other = self.path / "other"
            other.write_text("other data")
            other.rename(self.path / f"{FINGERPRINT}{suffix}")
        self.assertEqual(self.read(opened, 0), b"the data")
        self.assertEqual(self.read(opened, 8), b"the root")

    def test_written(self) -> None:
        """A read fails if a file of the open image has been written to."""
        for read_from in (os.preadv, would_block):
            self.patch(os, "preadv", read_from)
            for content in ("", "the d", "other data", "the DATA"):
                self.image.write_text("the data")
                os.utime(self.image, (0, 0))
                opened = self.opened()
                self.read(opened, 0, 4)
                self.image.write_text(content)
                error = self.failureResultOf(opened.read(4, 4), ImageError).value
                self.assertIn("changed while it was read", str(error))

    def test_written_before_load(self) -> None:
        """A load fails if a file of the open image has been written to."""
        opened = self.opened()
        self.image.write_text("the data is longer")
        loading = IFileImage(opened).load(0, 8)
        error = self.failureResultOf(loading, ImageError).value
        self.assertIn("changed while it was read", str(error))

    def test_other_file_written(self) -> None:
        """If one file of a split image was written to, the other is not read, too.

        A guest may not have received yet what was sent of the first.
        """
        rootfs = self.write(".rootfs", "the root")
        for file, start in ((self.image, 8), (rootfs, 0)):
            opened = self.opened()
            content = file.read_text()
            file.write_text(content * 2)
            self.failureResultOf(opened.read(start, 1), ImageError)
            self.failureResultOf(IFileImage(opened).load(start, 1), ImageError)
            file.write_text(content)

    def test_no_data(self) -> None:
        """A read fails if the disk returns no data."""
        opened = self.opened()
        self.patch(os, "preadv", would_block)
        self.patch(os, "pread", lambda *_: b"")
        self.failureResultOf(opened.read(4, 4), ImageError)

    def test_replaced_while_opening(self) -> None:
        """Files of different versions of an image are never mixed."""
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

        self.patch(image_files, "open_regular", open_and_replace)
        self.assertEqual(self.read(self.opened()), b"version 3")
        self.assertEqual(len(self.descriptors.opened()), 2)
        versions = iter(range(1000))
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("again and again", str(events))
        self.assertEqual(len(self.descriptors.opened()), 2)

    def test_completed_while_opening(self) -> None:
        """If the second file appears while the first is opened, both are opened."""

        def open_and_complete(path: Path, flags: int) -> int:
            fd = open_regular(path, flags)
            if path == self.image:
                self.write(".rootfs", "the root")
            return fd

        self.patch(image_files, "open_regular", open_and_complete)
        self.assertEqual(len(self.opened().image.parts), 2)

    def test_removed_immediately(self) -> None:
        """An image that is removed as soon as it is opened is not found."""

        def open_and_remove(path: Path, flags: int) -> int:
            fd = open_regular(path, flags)
            if path == self.image:
                path.unlink()
            return fd

        self.patch(image_files, "open_regular", open_and_remove)
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("no such file", str(events))

    def test_removed_while_opening(self) -> None:
        """A split image that is removed while it is opened is not found."""
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
    """Reading from disks that are slow or fail."""

    def setUp(self) -> None:
        super().setUp()
        self.write(".yaml", "public: true")
        self.write("", "the data")

    def test_open(self) -> None:
        """Files are opened in a thread."""
        self.reactor.threads.held = True
        opening = self.store.open(FINGERPRINT)
        self.assertNoResult(opening)
        self.reactor.threads.release()
        opened = self.successResultOf(opening)
        assert opened is not None
        opened.close()

    def test_close(self) -> None:
        """Files are closed in a thread, because this may free disk space."""
        opened = self.successResultOf(self.store.open(FINGERPRINT))
        assert opened is not None
        self.assertEqual(len(self.descriptors.opened()), 1)
        self.reactor.threads.held = True
        opened.close()
        self.assertEqual(len(self.descriptors.opened()), 1)
        self.reactor.threads.release()
        self.assertEqual(self.descriptors.opened(), [])

    def test_read(self) -> None:
        """Data that is not in the page cache is read in a thread."""
        opened = self.opened()
        self.patch(os, "preadv", would_block)
        self.reactor.threads.held = True
        reading = opened.read(4, 100)
        self.assertNoResult(reading)
        self.reactor.threads.release()
        self.assertEqual(self.successResultOf(reading), b"data")

    def test_page_cache(self) -> None:
        """The reactor thread reads only from the page cache."""
        used_flags: list[int] = []

        def preadv(fd: int, buffers: list[bytearray], start: int, flags: int) -> int:
            used_flags.append(flags)
            return os.readv(fd, buffers)

        opened = self.opened()
        self.patch(os, "preadv", preadv)
        self.assertEqual(self.read(opened), b"the data")
        self.assertEqual(used_flags, [os.RWF_NOWAIT])

    def load(self, opened: IOpenImage, start: int, size: int) -> FileRange | None:
        """Load some of the data of an image."""
        return self.successResultOf(IFileImage(opened).load(start, size))

    def test_load(self) -> None:
        """Data is loaded in a thread."""
        opened = self.opened()
        self.reactor.threads.held = True
        loading = IFileImage(opened).load(4, 100)
        self.assertNoResult(loading)
        self.reactor.threads.release()
        part = self.successResultOf(loading)
        assert part is not None
        self.assertEqual((part.start, part.size), (4, 4))

    def test_load_limited(self) -> None:
        """One load takes a thread for a few milliseconds only."""
        self.write("", "x" * 50_000)
        self.patch(image_files, "_LOAD_SIZE", 4096)
        opened = self.opened()
        part = self.load(opened, 0, 40_000)
        assert part is not None
        self.assertEqual(part.size, 40_000)
        times = iter((0.0, 0.001, 1.0))
        self.patch(image_files, "monotonic", lambda: next(times))
        part = self.load(opened, 0, 40_000)
        assert part is not None
        self.assertEqual(part.size, 5 * 4096)

    def test_load_not_cached(self) -> None:
        """If the file system does not say what is in the page cache, data is read."""
        opened = self.opened()
        self.patch(os, "preadv", would_block)
        self.assertIsNone(self.load(opened, 0, 8))
        # From now on, no thread is asked.
        self.reactor.threads.held = True
        self.assertIsNone(self.load(opened, 0, 8))

    def test_load_fails(self) -> None:
        """If the data cannot be loaded, it is read, which finds the reason."""

        def fail(*_: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        for sendfile in (fail, lambda *_: 0):
            self.patch(os, "sendfile", sendfile)
            self.assertIsNone(self.load(self.opened(), 0, 8))

    def test_load_closes(self) -> None:
        """Loading leaves no file open."""
        self.load(self.opened(), 0, 8)
        self.assertEqual(len(self.descriptors.opened()), 1)

    def test_out_of_files(self) -> None:
        """Without free file descriptors, opening fails, as the image may exist."""

        def exhausted(*_: object) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(image_files, "open_regular", exhausted)
        self.failureResultOf(self.store.open(FINGERPRINT), ImageError)

    def test_disk_error(self) -> None:
        """If the disk fails, reads of open images fail, and no image is found."""

        def fail(*_: object) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        opened = self.opened()
        self.patch(os, "preadv", fail)
        self.patch(os, "pread", fail)
        reading: Deferred[bytes] = opened.read(0, 1)
        error = self.failureResultOf(reading, ImageError).value
        self.assertIn(f"{FINGERPRINT}: Input/output error", str(error))
        with capturedLogs() as events:
            self.assertIsNone(self.open())
        self.assertIn("Input/output error", str(events))
