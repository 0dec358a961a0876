"""Tests of `devlxd.documents.directory`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.access_keys import access_keys
from devlxd.containers.document_files import parse as parse_document
from devlxd.documents import directory as directory_module
from devlxd.documents import replacing
from devlxd.documents.changes import Remove, SetValue
from devlxd.documents.directory import DocumentDirectory
from devlxd.documents.errors import (
    ChangedMeanwhileError,
    DocumentsError,
    FaultyError,
    InvalidNameError,
    NoContainerError,
)
from devlxd.documents.locking import LockTimeoutError
from devlxd.guestapi.dialects import DEFAULT_DIALECT

SET = SetValue(("config", "user.a"), "new")


class DirectoryTests(SynchronousTestCase):
    """A directory of documents."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.directory = DocumentDirectory(self.path, access_keys([DEFAULT_DIALECT]))

    def write(self, text: str, name: str = "c1.yaml") -> Path:
        """Write a document."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def refusal(self, error: type[DocumentsError], name: str = "c1") -> str:
        """Return why no key is set."""
        with self.assertRaises(error) as raised:
            self.directory.change(name, [SET])
        return str(raised.exception).replace(f"{self.path}/", "")

    def test_change(self) -> None:
        """A change is in the file, and the other lines stay."""
        path = self.write("config:\n  user.a: old # c\n")
        self.assertEqual(self.directory.change("c1", [SET]), [])
        self.assertEqual(path.read_text(), "config:\n  user.a: new # c\n")

    def test_kinds(self) -> None:
        """Documents of all names are changed where they are."""
        for number, end in enumerate((".yaml", ".yml", ".json", "/config.yaml")):
            path = self.write('{"config": {}}', f"c{number}{end}")
            self.directory.change(f"c{number}", [SET])
            self.assertIn("new", path.read_text())
            container = self.directory.parse(
                f"c{number}", self.directory.read(f"c{number}")
            ).container
            self.assertEqual(container.config["user.a"], "new")

    def test_nothing_to_do(self) -> None:
        """A value that is there already does not replace the file."""
        path = self.write("config:\n  user.a: new\n")
        before = path.stat()
        self.directory.change("c1", [SET])
        self.assertEqual(path.stat().st_ino, before.st_ino)

    def test_names(self) -> None:
        """What is no name of a container never becomes a path."""
        self.write("config: {}\n", "sub/config.yaml")
        for name in (
            "",
            ".",
            "..",
            "a/b",
            "../c1",
            ".c1",
            "-c1",
            "a\n",
            "é",
            "a" * 129,
        ):
            self.refusal(InvalidNameError, name)
            self.assertRaises(InvalidNameError, self.directory.create, name, [])
            self.assertRaises(InvalidNameError, self.directory.remove, name)
            self.assertRaises(InvalidNameError, self.directory.read, name)

    def test_no_container(self) -> None:
        """A container without a document is missing; so may be the directory."""
        self.assertEqual(self.refusal(NoContainerError), "c1: no such container")
        with self.assertRaises(NoContainerError):
            self.directory.remove("c1")
        gone = evolve(self.directory, path=self.path / "gone")
        for call in (gone.documents, lambda: gone.change("c1", [SET])):
            with self.assertRaises(DocumentsError) as raised:
                call()
            self.assertIn("No such file or directory", str(raised.exception))

    def test_faults(self) -> None:
        """A document that devlxd cannot read is not changed; the line is named."""
        self.write("config:\n  a: [1]\n")
        self.assertTrue(self.refusal(FaultyError).startswith("c1.yaml:2: config: a is"))
        self.write("config: {}\n", "c1.json")
        self.assertIn("more than one document", self.refusal(FaultyError))
        self.assertRaises(FaultyError, self.directory.remove, "c1")

    def test_too_long(self) -> None:
        """No document becomes longer than devlxd reads."""
        path = self.write("config: {}\n")
        directory = evolve(self.directory, max_size=100)
        with self.assertRaises(FaultyError) as raised:
            directory.change("c1", [SetValue(("config", "a"), "x" * 100)])
        self.assertIn("longer than 100 bytes", str(raised.exception))
        self.assertEqual(path.read_text(), "config: {}\n")

    def test_large(self) -> None:
        """A document of more than 1 MiB is changed as any other."""
        lines = [f"  user.k{n}: '{n}' # {'x' * 30}\n" for n in range(22_000)]
        path = self.write("".join(["config:\n", *lines]))
        self.directory.change("c1", [SetValue(("config", "user.k9"), "x\n" * 2**19)])
        text = path.read_text()
        self.assertGreater(len(text), 2 * 1024 * 1024)
        self.assertTrue(text.endswith("".join(lines[10:])))

    def test_warnings(self) -> None:
        """Warnings that a change adds are returned, with their lines; not others."""
        self.write("config:\n  a: b\nconifg: {}\n")
        change = SetValue(("config", "security.devlxd"), "maybe")
        (fault,) = self.directory.change("c1", [change])
        self.assertEqual((fault.line, fault.breaks), (3, False))
        self.assertIn("neither true nor false", fault.text)

    def test_backup(self) -> None:
        """What LXD or Incus writes is theirs, and their command is named."""
        text = "instance:\n  expanded_config: {a: b}\n"
        path = self.write(text, "c1/backup.yaml")
        self.assertIn("lxc config set c1 KEY VALUE", self.refusal(DocumentsError))
        with self.assertRaises(DocumentsError):
            self.directory.remove("c1")
        document = self.directory.read("c1")
        new = b"config: {}\n"
        self.assertRaises(DocumentsError, self.directory.replace, "c1", document, new)
        self.assertEqual(path.read_text(), text)
        self.write(text, "web_c1/backup.yaml")
        self.assertIn(
            "lxc config set --project web c1 KEY VALUE",
            self.refusal(DocumentsError, "web_c1"),
        )
        self.write(text, "incus/backup.yaml")
        os.symlink(self.path / "incus", self.path / "c2")
        self.assertIn("incus config set c2", self.refusal(DocumentsError, "c2"))

    def test_links(self) -> None:
        """A document behind links is changed there, and the links stay."""
        self.write("config: {}\n", "target/config.yaml")
        (self.path / "c1").symlink_to(self.path / "target")
        (self.path / "c2.yaml").symlink_to("target/config.yaml")
        self.directory.change("c1", [SET])
        self.directory.change("c2", [SetValue(("config", "user.b"), "1")])
        self.assertTrue((self.path / "c1").is_symlink())
        self.assertTrue((self.path / "c2.yaml").is_symlink())
        text = (self.path / "target" / "config.yaml").read_text()
        self.assertEqual(text, 'config:\n  user.a: new\n  user.b: "1"\n')

    def test_replace(self) -> None:
        """A whole document is replaced if it is still the one that was read."""
        path = self.write("config: {}\n")
        old = self.directory.read("c1")
        self.directory.replace("c1", old, b"config: {a: b} # new\n")
        self.assertEqual(path.read_text(), "config: {a: b} # new\n")
        with self.assertRaises(ChangedMeanwhileError):
            self.directory.replace("c1", old, b"config: {}\n")
        current = self.directory.read("c1")
        path.unlink()
        with self.assertRaises(ChangedMeanwhileError):
            self.directory.replace("c1", current, b"config: {}\n")

    def test_replace_by_faults(self) -> None:
        """A document with a fault does not replace another one."""
        path = self.write("config: {}\n")
        with self.assertRaises(FaultyError):
            self.directory.replace("c1", self.directory.read("c1"), b"config: [\n")
        self.assertEqual(path.read_text(), "config: {}\n")

    def test_same_id(self) -> None:
        """An id that another container has is a warning, as in ``devlxd check``."""
        self.write("id: abc\n", "other.yaml")
        self.write("broken: [\n", "broken.yaml")
        self.write("config: {}\n")
        old = self.directory.read("c1")
        (fault,) = self.directory.replace("c1", old, b"config: {}\nid: abc\n")
        self.assertIn("id is also the id of other", fault.text)
        self.assertEqual(fault.line, 2)

    def test_editor_without_lock(self) -> None:
        """What an editor saves while a change is made is not overwritten."""
        path = self.write("config: {}\n")

        def parse(*arguments: object) -> object:
            path.write_text("config: {saved: meanwhile}\n")
            return parse_document(*arguments)  # type: ignore[arg-type] # passed on

        self.patch(directory_module, "parse", parse)
        self.refusal(ChangedMeanwhileError)
        self.assertEqual(path.read_text(), "config: {saved: meanwhile}\n")

    def test_create(self) -> None:
        """A new document is complete, and never takes the place of another one."""
        self.directory.create("c1", [SET])
        text = (self.path / "c1.yaml").read_text()
        self.assertEqual(text, "config:\n  user.a: new\ndevices: {}\n")
        self.directory.create("c2", [])
        self.assertEqual(
            (self.path / "c2.yaml").read_text(), "config: {}\ndevices: {}\n"
        )
        for number, end in enumerate((".yaml", ".yml", ".json", "/config.yaml")):
            path = self.write("config: {}\n", f"old{number}{end}")
            with self.assertRaises(DocumentsError) as raised:
                self.directory.create(f"old{number}", [SET])
            self.assertIn(f"exists already: {path}", str(raised.exception))
            self.assertEqual(path.read_text(), "config: {}\n")

    def test_remove(self) -> None:
        """Only the document is removed, and its own directory if that is empty."""
        self.write("config: {}\n")
        self.directory.remove("c1")
        self.write("broken: [\n", "c2/config.yaml")
        self.directory.remove("c2")
        self.write("config: {}\n", "c3/config.yaml")
        self.write("rootfs", "c3/rootfs")
        self.directory.remove("c3")
        entries = sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*"))
        self.assertEqual(entries, ["c3", "c3/rootfs"])

    def test_list(self) -> None:
        """All documents are listed, with what breaks them; nothing else is."""
        self.write("config: {}\n", "b.json")
        self.write("config: {}\n", "a/config.yaml")
        self.write("config: [\n", "c.yaml")
        self.write("text", "README.txt")
        self.write("hidden", ".c.yaml.devlxd-x")
        self.write("file", "d/rootfs")
        (self.path / "e.yaml").symlink_to("nowhere")
        found = [
            (listed.name, str(listed.path.relative_to(self.path)), bool(listed.fault))
            for listed in self.directory.documents()
        ]
        self.assertEqual(
            found,
            [
                ("a", "a/config.yaml", False),
                ("b", "b.json", True),
                ("c", "c.yaml", True),
                ("e", "e.yaml", True),
            ],
        )

    def test_errors(self) -> None:
        """What the system refuses is one line, and changes nothing."""
        path = self.write("config: {}\n")

        def rename(_old: str, _new: str) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "rename", rename)
        text = "c1.yaml: No space left on device"
        self.assertEqual(self.refusal(DocumentsError), text)
        os.link(path, self.path / "hard")
        self.assertIn("2 hard links", self.refusal(DocumentsError))
        self.assertEqual(path.read_text(), "config: {}\n")

        def locked(_path: Path) -> object:
            raise LockTimeoutError

        self.patch(directory_module, "locked", locked)
        self.assertIn("another process has locked it", self.refusal(DocumentsError))

    def test_not_set(self) -> None:
        """If one of several keys is not set, none is removed."""
        path = self.write("config: {a: b}\n")
        removals = [Remove(("config", "a")), Remove(("config", "b"))]
        with self.assertRaises(FaultyError) as raised:
            self.directory.change("c1", removals)
        self.assertEqual(raised.exception.fault.text, "b is not set")
        self.assertEqual(path.read_text(), "config: {a: b}\n")

    def test_killed_creator(self) -> None:
        """A document whose creator was killed can be created and changed."""
        self.write("half", f".c1.yaml{replacing.INFIX}x")
        self.directory.create("c1", [])
        self.assertEqual(os.listdir(self.path), ["c1.yaml"])
