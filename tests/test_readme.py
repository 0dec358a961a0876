"""Tests of the commands and programs in README.rst and docs/, in memory."""

from __future__ import annotations

import re
import shlex

import twisted.internet
from twisted.application.service import IService, MultiService
from twisted.trial.unittest import SynchronousTestCase

from devlxd import DIALECTS, options
from devlxd.commands import main as command
from devlxd.container_sources import DirectorySource
from devlxd.service import DevLXDService
from devlxd.testing import MemoryDevLXDReactor
from tests.readme import (
    DIALECTS_PAGE,
    OPERATING,
    README,
    TUTORIAL,
    TUTORIAL_SECTIONS,
    blocks_of,
    commands_of,
)

#: The lines that a command reads from the shell, up to ``END``.
_HERE_DOCUMENT = re.compile(r"(?<=<<END\n).*?^END\n", re.MULTILINE | re.DOTALL)


class ReadmeTests(SynchronousTestCase):
    """The commands and programs of the pages work."""

    def test_command_lines(self) -> None:
        """Each command line of ``twistd devlxd`` has valid options."""
        self.patch(options, "check_may_identify", lambda: None)
        self.patch(options.Options, "_check_endpoint", lambda _, at: at.endpoint)
        self.patch(DirectorySource, "check", lambda _: None)
        self.patch(options.Options, "_check_state", lambda _, dialect: None)
        commands = [
            words
            for page in (README, OPERATING, TUTORIAL, DIALECTS_PAGE)
            for words in commands_of(page)
        ]
        self.assertGreaterEqual(len(commands), 9)
        for words in commands:
            # These include the command line of the systemd unit.
            parsed = options.Options()
            parsed.parseOptions(words)
            self.assertTrue(parsed["demo"] or parsed["containers"], words)

    def test_tutorial(self) -> None:
        """The tutorial takes the nine commands that it promises."""
        blocks = [
            block
            for section in TUTORIAL_SECTIONS
            for block in blocks_of(TUTORIAL, section)
        ]
        *commands, _output = _HERE_DOCUMENT.sub("", "".join(blocks)).splitlines()
        self.assertEqual(len(commands), 9, commands)
        self.assertIn("It takes nine commands", TUTORIAL.read_text())

    def test_dialects(self) -> None:
        """The table of dialects lists all of them, with their defaults."""
        rows = re.findall(
            r"^``(\w+)`` +``(/\S+)`` +``/\S+`` +``(/\S+)``$",
            README.read_text(),
            re.MULTILINE,
        )
        expected = [
            (name, f"{dialect.socket}/sock", str(dialect.containers))
            for name, dialect in DIALECTS.items()
        ]
        self.assertEqual(rows, expected)

    def test_image_add(self) -> None:
        """The command line of ``devlxd image add`` has valid options."""
        block = blocks_of(README, "Images")[0]
        (line,) = [line for line in block.splitlines() if "image add" in line]
        words = shlex.split(line, comments=True)
        said = command.make_parser().parse_args(words[1:])
        self.assertTrue(said.public)

    def test_agent(self) -> None:
        """The program of an agent makes a service that serves its container."""
        (agent,) = blocks_of(README, "Embed it")
        from twisted.internet import reactor  # noqa: F401, PLC0415 # it must exist

        self.patch(twisted.internet, "reactor", MemoryDevLXDReactor())
        tac: dict[str, object] = {}
        exec(compile(agent, "agent.tac", "exec"), tac)
        application = IService(tac["application"])
        assert isinstance(application, MultiService)
        service: IService
        (service,) = application
        assert isinstance(service, DevLXDService)
        container = service.store.get("c1")
        assert container is not None
        self.assertEqual(container.config, {"user.foo": "bar"})
