"""Tests of ``devlxd container edit``."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from pathlib import Path

from devlxd.commands.documents import editor
from tests.commands.documents.container_test_case import ContainerTestCase


class EditTests(ContainerTestCase):
    """Editing a document."""

    def setUp(self) -> None:
        super().setUp()
        self.temporary = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.patch(tempfile, "tempdir", str(self.temporary))
        self.edits = Path(tempfile.mkdtemp(dir=self.path.parent)).absolute()
        self.patch(os, "environ", {"PATH": os.environ["PATH"]})

    def edit_by(self, *scripts: str) -> None:
        """Let each run of the editor run the next shell script; the file is ``$1``."""
        for number, script in enumerate(scripts):
            (self.edits / str(number)).write_text(script)
        code = f'cd {self.edits}; f=$(ls | head -n1); s=$(cat $f); rm $f; eval "$s"'
        os.environ["EDITOR"] = shlex.join(["sh", "-c", code, "editor"])

    def kept(self) -> str:
        """Return the only text that is kept, whose file is told."""
        (path,) = self.temporary.iterdir()
        self.assertIn(
            f"the edited document is kept in {path}\n", self.errors.getvalue()
        )
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        return path.read_text()

    def test_edit(self) -> None:
        """What the editor leaves replaces the document, and no copy is left."""
        self.edit_by('sed -i s/one/two/ "$1"')
        self.assertEqual(self.container("edit", "c1"), 0)
        self.assertEqual(self.document.read_text(), "config:\n  user.a: two # a\n")
        self.assertEqual(os.listdir(self.temporary), [])
        self.assertEqual(self.errors_printed(), "")

    def test_private(self) -> None:
        """The editor gets a private file whose name has the right suffix."""
        self.write("{}", "c2.json")
        self.edit_by(f'stat -c "%a %n" "$1" > {self.path}/seen')
        self.assertEqual(self.container("edit", "c2"), 0)
        mode, _, name = (self.path / "seen").read_text().strip().partition(" ")
        self.assertEqual(mode, "600")
        self.assertTrue(name.endswith(".json"))

    def test_no_change(self) -> None:
        """Without a change nothing is replaced, not even a broken document."""
        self.write("config: [")
        before = self.document.stat().st_ino
        self.edit_by("true")
        self.assertEqual(self.container("edit", "c1"), 0)
        self.assertEqual(self.document.stat().st_ino, before)
        self.assertEqual(os.listdir(self.temporary), [])

    def test_fault(self) -> None:
        """A fault is shown with its line, and enter opens the same text again."""
        self.edit_by("printf 'config:\\n  a: [1]\\n' > \"$1\"", 'sed -i s/.1./1/ "$1"')
        self.type(b"\n", is_terminal=True)
        self.assertEqual(self.container("edit", "c1"), 0)
        self.assertEqual(self.document.read_text(), "config:\n  a: 1\n")
        error = self.errors_printed()
        self.assertTrue(error.startswith("c1.yaml:2: config: a is not text"))
        self.assertIn("Press enter to open the editor again, or Ctrl-C", error)

    def test_give_up(self) -> None:
        """Who gives up has changed nothing, and keeps the text."""
        self.edit_by("echo 'config: [' > \"$1\"")
        self.assertEqual(self.container("edit", "c1"), 1)
        self.assertEqual(self.kept(), "config: [\n")
        self.assertIn("nothing is saved", self.errors_printed())
        self.assertIn("one", self.document.read_text())

    def test_changed_meanwhile(self) -> None:
        """What another has changed meanwhile is not overwritten; the text is kept."""
        self.edit_by(f'sed -i s/one/two/ "$1"; echo "config: {{}}" > {self.document}')
        self.assertEqual(self.container("edit", "c1"), 1)
        self.assertEqual(self.document.read_text(), "config: {}\n")
        self.assertIn("two", self.kept())
        self.assertIn("changed by somebody else meanwhile", self.errors_printed())

    def test_editor_fails(self) -> None:
        """If the editor fails nothing is replaced; what it has changed is kept."""
        self.edit_by('echo new > "$1"; exit 3')
        self.assertEqual(self.container("edit", "c1"), 1)
        self.assertEqual(self.kept(), "new\n")
        self.assertIn("has failed with status 3", self.errors_printed())
        for path in self.temporary.iterdir():
            path.unlink()
        self.edit_by("exit 3")
        self.assert_refused(1, "has failed with status 3", "edit", "c1")
        self.assertEqual(os.listdir(self.temporary), [])

    def test_no_editor(self) -> None:
        """A missing editor is one line."""
        os.environ["VISUAL"] = "/nowhere/editor -x"
        self.assert_refused(1, "No such file or directory", "edit", "c1")
        os.environ["VISUAL"] = "'"
        self.assert_refused(1, "VISUAL in the environment", "edit", "c1")
        os.environ["VISUAL"] = ""
        self.patch(editor.shutil, "which", lambda _name: None)  # type: ignore[attr-defined] # imported there
        self.assert_refused(1, "set EDITOR", "edit", "c1")

    def test_choice(self) -> None:
        """The editor is that of VISUAL, then that of EDITOR, then what is there."""
        self.patch(editor.shutil, "which", lambda name: name == "vi")  # type: ignore[attr-defined] # imported there
        self.assertEqual(editor.editor(), ["vi"])
        os.environ["EDITOR"] = "nano -w"
        self.assertEqual(editor.editor(), ["nano", "-w"])
        os.environ["VISUAL"] = "emacs"
        self.assertEqual(editor.editor(), ["emacs"])

    def test_standard_input(self) -> None:
        """A standard input that is no terminal becomes the document."""
        self.type(b"config: {user.b: '1'} # new\n")
        self.assertEqual(self.container("edit", "c1"), 0)
        self.assertEqual(self.document.read_text(), "config: {user.b: '1'} # new\n")
        for content in (b"", b"config: [\n", b"\xff"):
            self.type(content)
            self.assert_refused(1, "c1.yaml", "edit", "c1")
        self.type(b"#" * (16 * 1024 * 1024 + 1))
        self.assert_refused(1, "longer than 16777216 bytes", "edit", "c1")

    def test_backup(self) -> None:
        """The document of an LXD is not edited."""
        self.write("instance: {expanded_config: {}}\n", "c2/backup.yaml")
        self.assert_refused(1, "lxc config set c2 KEY VALUE", "edit", "c2")
