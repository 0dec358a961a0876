"""Tests of checking a whole directory of documents."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers import document_files
from devlxd.containers.directory_check import check_directory
from devlxd.containers.document_warnings import AccessKeys
from tests.containers.faulty_documents import FAULTS

#: The keys of a dialect that shows other keys than another one.
ACCESS_KEYS = AccessKeys(
    booleans=("security.devlxd", "security.devlxd.images"),
    uids=("security.devlxd.uids",),
    exported=("user.", "cloud-init."),
    hidden=("cloud-init.",),
)


class CheckTests(SynchronousTestCase):
    """Checking a directory."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()

    def write(self, name: str, text: str) -> Path:
        """Write a file in the directory."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, errors="surrogateescape")
        return path

    def check(self) -> list[str]:
        """Return the faults in the directory."""
        faults = check_directory(self.path, ACCESS_KEYS).faults
        return [str(fault) for fault in faults]

    def test_each_fault(self) -> None:
        """Each kind of fault is found, with its line and with what to write."""
        for name, (text, expected) in FAULTS.items():
            path = self.write(name, text)
            (fault,) = self.check()
            self.assertTrue(fault.startswith(f"{path}:"), fault)
            self.assertIn(expected, fault)
            path.unlink()

    def test_all(self) -> None:
        """All faults of a directory are found at once, in the order of the files."""
        for name, (text, _) in FAULTS.items():
            self.write(name, text)
        checked = check_directory(self.path, ACCESS_KEYS)
        files = [Path(fault.file).name for fault in checked.faults]
        self.assertEqual(files, sorted(FAULTS))
        usable = sum(not fault.breaks for fault in checked.faults)
        # Two of the files are ignored.
        self.assertEqual(checked.containers, usable - 2)

    def test_two_documents(self) -> None:
        """Two documents of one container are found, with the names of both."""
        first = self.write("c1.yaml", "config: {}\n")
        second = self.write("c1/backup.yaml", "config: {}\n")
        (fault,) = self.check()
        self.assertEqual(
            fault,
            f"{first}: more than one document for c1: also {second}; keep one of them",
        )

    def test_same_id(self) -> None:
        """An id in two documents is found in both."""
        first = self.write("c1.yaml", "config: {}\nid: abc\n")
        second = self.write("c2.yaml", "id: abc\n")
        text = "and neither container is found by it; write the id of this container"
        self.assertEqual(
            self.check(),
            [
                f"{first}:2: id is also the id of c2, {text}",
                f"{second}:1: id is also the id of c1, {text}",
            ],
        )

    def test_links(self) -> None:
        """A broken link, a loop and a directory without a document are told apart."""
        (self.path / "broken.yaml").symlink_to("nowhere")
        (self.path / "loop").symlink_to("loop")
        (self.path / "own").mkdir()
        (self.path / "sub.yaml").mkdir()
        faults = [fault.removeprefix(f"{self.path}/") for fault in self.check()]
        self.assertEqual(
            faults,
            [
                "broken.yaml: a dangling symbolic link; create its target, or remove "
                "the link",
                "loop: Too many levels of symbolic links; let the link refer to a file",
                "own: is ignored: it has no config.yaml and no backup.yaml; write one",
                "sub.yaml: Is a directory; replace it by a file",
            ],
        )

    def test_unreadable(self) -> None:
        """A document that may not be read is told apart from one that is missing."""
        path = self.write("c1.yaml", "config: {}\n")

        def refuse(path: Path) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        self.patch(document_files, "open_regular", refuse)
        (fault,) = self.check()
        self.assertEqual(
            fault,
            f"{path}: Permission denied; allow the user that runs devlxd to read it",
        )

    def test_public(self) -> None:
        """A document with a secret that every user can read is found."""
        # Every user may search this directory, unlike those of some checkouts.
        self.path = Path(tempfile.mkdtemp(dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.path)
        self.path.chmod(0o755)
        path = self.write("c1.yaml", "config: {user.a: b, user.db-password: x}\n")
        path.chmod(0o644)
        (fault,) = self.check()
        self.assertEqual(
            fault,
            f"{path}: every user of the host can read this file, and user.db-password "
            "may be secret; change its mode to 0640",
        )
        for file, directory in ((0o640, 0o755), (0o644, 0o700)):
            path.chmod(file)
            self.path.chmod(directory)
            self.assertEqual(self.check(), [])

    def test_clean(self) -> None:
        """A directory without faults has none, and its containers are counted."""
        self.write("c1.yaml", "config: {user.a: b}\n")
        self.write("c2/backup.yaml", "container: {expanded_config: {user.a: b}}\n")
        self.write(".c3.yaml.swp", "[")
        self.write("notes.txt", "[")
        checked = check_directory(self.path, ACCESS_KEYS)
        self.assertEqual(checked.faults, [])
        self.assertEqual(checked.containers, 2)

    def test_missing(self) -> None:
        """A directory that is missing is an error, not an empty directory."""
        self.assertRaises(FileNotFoundError, check_directory, self.path / "nope")

    def test_no_values(self) -> None:
        """No fault names the value of a key, whatever is wrong with it."""
        for number, text in enumerate(
            (
                "config:\n  security.devlxd: SECRET\n",
                "config:\n  user.a: [SECRET]\n",
                "config:\n  user.a: 'SECRET\n",
                "config:\n  user.a: SECRET: SECRET\n",
                "config:\n  user.a: @SECRET\n",
                "config:\n  user.a: *SECRET\n",
                "config:\n  user.a: !SECRET!x y\n",
                'config:\n  user.a: "\\SECRET"\n',
                "id: SECRET\n",
                "id: SECRET\n",
                "lxcpath: SECRET\n",
            )
        ):
            self.write(f"c{number}.yaml", text)
        for number, text in enumerate(
            ('{"config": {"a": "SECRET}}', '{"a": SECRET}', '{"a": "SECRET\\ud800"}')
        ):
            self.write(f"j{number}.json", text)
        faults = self.check()
        self.assertGreater(len(faults), 12)
        self.assertNotIn("SECRET", "\n".join(faults))
