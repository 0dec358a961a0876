"""Tests of what README and docs tell to type, as far as memory goes."""

from __future__ import annotations

import shlex

import twisted.internet
from twisted.application.service import IService, MultiService
from twisted.trial.unittest import SynchronousTestCase

from devlxd import options
from devlxd.commands import main as command
from devlxd.service import DevLXDService
from devlxd.testing import MemoryDevLXDReactor
from tests.readme import OPERATING, README, blocks_of, commands_of


class ReadmeTests(SynchronousTestCase):
    """What one can type is understood."""

    def test_command_lines(self) -> None:
        """Each command line of ``twistd devlxd`` has options that there are."""
        self.patch(options, "check_may_identify", lambda: None)
        self.patch(options.Options, "_check_endpoint", lambda _, at: at.endpoint)
        self.patch(options, "_check_directory", lambda option, path: None)
        self.patch(options.Options, "_check_state", lambda _, dialect: None)
        commands = commands_of(README) + commands_of(OPERATING)
        self.assertGreaterEqual(len(commands), 6)
        for words in commands:
            # systemd's own line is one as well.
            parsed = options.Options()
            parsed.parseOptions(words)
            self.assertTrue(parsed["demo"] or parsed["containers"], words)

    def test_image_add(self) -> None:
        """So has that of ``devlxd image add``."""
        block = blocks_of(README, "Images")[0]
        (line,) = [line for line in block.splitlines() if "image add" in line]
        words = shlex.split(line, comments=True)
        said = command.make_parser().parse_args(words[1:])
        self.assertTrue(said.public)

    def test_agent(self) -> None:
        """The agent is one, and is served by."""
        (agent,) = blocks_of(README, "Embed it")
        from twisted.internet import reactor  # noqa: F401, PLC0415 # or it is not there

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
