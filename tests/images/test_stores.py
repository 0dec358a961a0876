"""The contract of `IImageStore`, run on every store of images of devlxd."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from treq.testing import RequestTraversalAgent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.images.upstream_image_store import LXDImageStore
from devlxd.interfaces import IImageStore
from devlxd.testing import MemoryDevLXDReactor
from devlxd.testing.contracts import FileImageContract, PrivateImageContract
from tests.images.fake_lxd import FakeLXD


class MemoryImageStoreTests(PrivateImageContract, SynchronousTestCase):
    """`MemoryImageStore`, which is changed by its own methods."""

    def make_store(self) -> IImageStore:
        self.memory = MemoryImageStore()
        return self.memory

    def add_image(self, *data: bytes) -> str:
        return self.memory.put(*data)

    def add_private_image(self, *data: bytes) -> str:
        return self.memory.put(*data, public=False)

    def remove_image(self, fingerprint: str) -> None:
        self.memory.remove(fingerprint)

    def test_published(self) -> None:
        """Putting an image again can make it public."""
        fingerprint = self.add_private_image(b"data")
        self.assertEqual(self.add_image(b"data"), fingerprint)
        self.open_image(fingerprint).close()

    def test_open_images(self) -> None:
        """The store lists its open images until they are closed."""
        opened = self.open_image(self.add_image(b"data"))
        self.assertEqual(self.memory.open_images, [opened.image])
        opened.close()
        self.assertEqual(self.memory.open_images, [])


class DirectoryImageStoreTests(
    FileImageContract, PrivateImageContract, SynchronousTestCase
):
    """`DirectoryImageStore`, which is changed by changing its directory."""

    def make_store(self) -> IImageStore:
        self.path = Path(tempfile.mkdtemp(dir="."))
        return DirectoryImageStore(self.path, MemoryDevLXDReactor())

    def add_image(self, *data: bytes) -> str:
        return self.write(*data, public=True)

    def add_private_image(self, *data: bytes) -> str:
        return self.write(*data, public=False)

    def write(self, *data: bytes, public: bool) -> str:
        """Write an image; return its fingerprint."""
        fingerprint = hashlib.sha256(b"".join(data)).hexdigest()
        for suffix, content in zip(("", ".rootfs"), data, strict=False):
            (self.path / f"{fingerprint}{suffix}").write_bytes(content)
        description = self.path / f"{fingerprint}.yaml"
        description.write_text(f"public: {str(public).lower()}\n")
        return fingerprint

    def remove_image(self, fingerprint: str) -> None:
        for path in self.path.glob(f"{fingerprint}*"):
            path.unlink()


class LXDImageStoreTests(PrivateImageContract, SynchronousTestCase):
    """`LXDImageStore`, which gets the images from an LXD in memory."""

    def make_store(self) -> IImageStore:
        self.lxd = FakeLXD()
        self.agent = RequestTraversalAgent(self.lxd)
        return LXDImageStore("/lxd", MemoryDevLXDReactor(), self.agent)

    def add_image(self, *data: bytes) -> str:
        return self.lxd.put(*data, public=True)

    def add_private_image(self, *data: bytes) -> str:
        return self.lxd.put(*data, public=False)

    def remove_image(self, fingerprint: str) -> None:
        del self.lxd.images[fingerprint]

    def settle(self) -> None:
        for _ in range(20):
            self.agent.flush()
