"""Tests of what the directory store says of its documents now: `IDocuments`."""

from __future__ import annotations

from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from devlxd.containers.removals import GRACE
from devlxd.interfaces import IDocuments
from tests.containers.directory_test_case import DirectoryStoreTestCase


class FaultsTests(DirectoryStoreTestCase):
    """The faults that stand, and the paths of the documents."""

    def change(self, text: str | None, name: str = "c1.yaml") -> None:
        """Write or remove a document, and let the store handle that quietly."""
        path = self.path / name
        with capturedLogs():
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
            self.report(path)
            self.pass_quiet_retries()

    def faults(self) -> list[str]:
        """Return the present faults, without the directory."""
        prefix = f"{self.path}/"
        faults = [str(fault).removeprefix(prefix) for fault in self.store.faults()]
        return sorted(faults)

    def test_interface(self) -> None:
        """The store provides `IDocuments`."""
        verifyObject(IDocuments, self.store)

    def test_broken(self) -> None:
        """A document is broken until it is repaired or removed."""
        self.start()
        for after in ("config: {}\n", None):
            self.change("config: []\n")
            (fault,) = self.store.faults()
            self.assertTrue(fault.breaks)
            self.assertEqual(fault.container, "c1")
            self.assertEqual((fault.file, fault.line), (str(self.file), 1))
            self.change(after)
            self.assertEqual(self.faults(), [])

    def test_broken_briefly(self) -> None:
        """A document that is being written is not broken yet."""
        self.start()
        self.file.write_text("config: [")
        self.report(self.file)
        self.assertEqual(self.faults(), [])

    def test_warned(self) -> None:
        """A warning stands until the document is repaired or removed."""
        self.start()
        for after in ("config: {}\n", None):
            self.change("conifg: {}\n")
            (fault,) = self.store.faults()
            self.assertFalse(fault.breaks)
            self.change("conifg: {}\n")
            self.assertEqual(
                self.faults(),
                ["c1.yaml:1: conifg has no effect; did you mean config?"],
            )
            self.change(after)
            self.assertEqual(self.faults(), [])

    def test_warned_and_broken(self) -> None:
        """Of a document that is broken, only this is a fault."""
        self.start()
        self.change("conifg: {}\n")
        self.change("config: []\n")
        (fault,) = self.store.faults()
        self.assertTrue(fault.breaks)
        self.change("conifg: {}\n")
        (fault,) = self.store.faults()
        self.assertFalse(fault.breaks)

    def test_ignored(self) -> None:
        """An ignored file is a fault as long as it exists."""
        self.start()
        self.change("config: {}\n", "c1.conf")
        (fault,) = self.store.faults()
        self.assertIsNone(fault.container)
        self.assertTrue(fault.text.endswith("rename it to c1.yaml"), fault.text)
        self.change(None, "c1.conf")
        self.assertEqual(self.faults(), [])

    def test_same_id(self) -> None:
        """An id of two containers is a fault of both until one has another."""
        self.start()
        text = "and neither container is found by it; write the id of this container"
        for after in ("id: def\n", "", None):
            for name in ("c1.yaml", "c2.yaml"):
                self.change("config: {}\nid: abc\n", name)
            self.assertEqual(
                self.faults(),
                [
                    f"c1.yaml:2: id is also the id of c2, {text}",
                    f"c2.yaml:2: id is also the id of c1, {text}",
                ],
            )
            self.change(None if after is None else f"config: {{}}\n{after}")
            self.clock.pump([GRACE, 0])
            self.assertEqual(self.faults(), [])

    def test_reload(self) -> None:
        """Faults stand while all documents are read again."""
        self.start()
        self.change("conifg: {}\n")
        with capturedLogs():
            self.store.reload()
        self.assertEqual(len(self.faults()), 1)
        with capturedLogs() as events:
            self.pass_quiet_retries()
        self.assertEqual(len(events), 1)
        self.assertEqual(len(self.faults()), 1)

    def test_document_of(self) -> None:
        """The path of a document is known, whether or not it can be read."""
        self.start()
        self.assertIsNone(self.store.document_of("c1"))
        self.change("config: {}\n")
        self.assertEqual(self.store.document_of("c1"), str(self.file))
        self.change("config: [")
        self.assertEqual(self.store.document_of("c1"), str(self.file))
        self.change(None)
        self.assertIsNone(self.store.document_of("c1"))
        own = self.path / "c1"
        own.mkdir()
        self.report(own)
        self.change("container: {name: c1}\n", "c1/backup.yaml")
        self.assertEqual(self.store.document_of("c1"), str(own / "backup.yaml"))

    def test_document_named_config(self) -> None:
        """A container may be called ``config``: its document is no directory's."""
        self.start()
        self.change("config: {}\n", "config.yaml")
        self.assertEqual(
            self.store.document_of("config"), str(self.path / "config.yaml")
        )
        container = self.store.get("config")
        assert container is not None
        inode = (self.path / "config.yaml").stat().st_ino
        self.assertIn(container.origin.split(":")[0], ("", str(inode)))

    def test_problem(self) -> None:
        """A directory that cannot be listed is the problem of all documents."""
        self.start()
        self.assertIsNone(self.store.problem())
        self.path.rmdir()
        self.assertEqual(
            self.store.problem(), f"{self.path}: No such file or directory"
        )
