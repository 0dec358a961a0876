"""What every `IImageStore` promises."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.images.directory_images import DirectoryImageStore
from devlxd.images.memory_images import MemoryImageStore
from devlxd.images.upstream_images import LXDImageStore
from devlxd.interfaces import IImageStore, IOpenImage
from devlxd.model import ImagePart
from devlxd.testing import MemoryDevLXDReactor
from tests.images.fake_lxd import FakeLXD

#: An image of one file, and the halves of a split one.
SINGLE = b"\x1f\x8b" + bytes(range(256)) * 1000

META = b"\xfd7zXZ\x00" + b"\r\n--" * 1000

ROOT = b"hsqs" + bytes(reversed(range(256))) * 1000

T = TypeVar("T")


class Fixture(Protocol):
    """A store, and a way to change what it has."""

    @property
    def store(self) -> IImageStore: ...

    def put(self, *data: bytes) -> str: ...

    def remove(self, fingerprint: str) -> None: ...

    def settle(self) -> None: ...


class MemoryFixture:
    """A `MemoryImageStore` is changed by its own methods."""

    def __init__(self) -> None:
        self.store = MemoryImageStore()
        self.put = self.store.put
        self.remove = self.store.remove

    def settle(self) -> None:
        pass


class DirectoryFixture:
    """A `DirectoryImageStore` is changed by changing its directory."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.store = DirectoryImageStore(self.path, MemoryDevLXDReactor())

    def put(self, *data: bytes) -> str:
        fingerprint = hashlib.sha256(b"".join(data)).hexdigest()
        for suffix, content in zip(("", ".rootfs"), data, strict=False):
            (self.path / f"{fingerprint}{suffix}").write_bytes(content)
        (self.path / f"{fingerprint}.yaml").write_text("public: true\n")
        return fingerprint

    def remove(self, fingerprint: str) -> None:
        for path in self.path.glob(f"{fingerprint}*"):
            path.unlink()

    def settle(self) -> None:
        pass


class LXDFixture:
    """A `LXDImageStore` asks an LXD, which has the images."""

    def __init__(self) -> None:
        self.lxd = FakeLXD()
        self.put = self.lxd.put
        self._agent = RequestTraversalAgent(self.lxd)
        self.store = LXDImageStore("/lxd", MemoryDevLXDReactor(), self._agent)

    def remove(self, fingerprint: str) -> None:
        del self.lxd.images[fingerprint]

    def settle(self) -> None:
        for _ in range(20):
            self._agent.flush()


def image_store_tests(fixture: Callable[[], Fixture]) -> type[SynchronousTestCase]:
    """Make the tests of what every store of images promises."""

    class ImageStoreTests(SynchronousTestCase):
        """The contract of `IImageStore`."""

        def setUp(self) -> None:
            self.fixture = fixture()
            self.store = self.fixture.store

        def result_of(self, waiting: Deferred[T]) -> T:
            """Return what comes in the end."""
            self.fixture.settle()
            return self.successResultOf(waiting)

        def open(self, fingerprint: str) -> IOpenImage:
            """Open an image that is there."""
            opened = self.result_of(self.store.open(fingerprint))
            assert opened is not None
            return opened

        def read(self, opened: IOpenImage, start: int, size: int) -> bytes:
            """Read as often as it takes."""
            data = b""
            while len(data) < size:
                left = size - len(data)
                piece = self.result_of(opened.read(start + len(data), left))
                self.assertGreater(len(piece), 0)
                self.assertLessEqual(len(piece), left)
                self.assertIsInstance(piece, bytes)
                data += piece
            return data

        def test_interfaces(self) -> None:
            """It provides the interfaces."""
            self.assertTrue(verifyObject(IImageStore, self.store))
            opened = self.open(self.fixture.put(SINGLE))
            self.assertTrue(verifyObject(IOpenImage, opened))
            opened.close()

        def test_missing(self) -> None:
            """What is not there is not there."""
            self.assertIsNone(self.result_of(self.store.open("0" * 64)))

        def test_single(self) -> None:
            """An image of one file is handed out as it was put in."""
            fingerprint = self.fixture.put(SINGLE)
            opened = self.open(fingerprint)
            image = opened.image
            self.assertEqual(image.fingerprint, fingerprint)
            part = ImagePart("", f"{fingerprint}.tar.gz", len(SINGLE))
            self.assertEqual(image.parts, (part,))
            self.assertEqual(self.read(opened, 0, image.size), SINGLE)
            opened.close()

        def test_split(self) -> None:
            """Of a split one the halves come one after the other."""
            fingerprint = self.fixture.put(META, ROOT)
            opened = self.open(fingerprint)
            self.assertEqual(
                opened.image.parts,
                (
                    ImagePart("metadata", f"meta-{fingerprint}.tar.xz", len(META)),
                    ImagePart("rootfs", f"{fingerprint}.squashfs", len(ROOT)),
                ),
            )
            self.assertEqual(self.read(opened, 0, opened.image.size), META + ROOT)
            opened.close()

        def test_anywhere(self) -> None:
            """Reading may begin anywhere, and go back, unless it says otherwise."""
            for data in ((SINGLE,), (META, ROOT)):
                opened = self.open(self.fixture.put(*data))
                if not opened.is_seekable:
                    opened.close()
                    continue
                whole = b"".join(data)
                middle = len(data[0]) - 3
                for start in (len(whole) - 1, middle, 0, 7, middle + 3):
                    size = min(100, len(whole) - start)
                    got = self.read(opened, start, size)
                    self.assertEqual(got, whole[start : start + size], start)
                opened.close()

        def test_again(self) -> None:
            """An image can be opened often, at the same time too."""
            fingerprint = self.fixture.put(META, ROOT)
            first, second = self.open(fingerprint), self.open(fingerprint)
            self.assertEqual(first.image, second.image)
            self.read(first, 0, 10)
            first.close()
            self.assertEqual(self.read(second, 0, 100), META[:100])
            second.close()

        def test_removed(self) -> None:
            """What was removed cannot be opened any more."""
            fingerprint = self.fixture.put(SINGLE)
            self.open(fingerprint).close()
            self.fixture.remove(fingerprint)
            self.assertIsNone(self.result_of(self.store.open(fingerprint)))

    return ImageStoreTests


MemoryImageStoreTests = image_store_tests(MemoryFixture)
DirectoryImageStoreTests = image_store_tests(DirectoryFixture)
LXDImageStoreTests = image_store_tests(LXDFixture)
