"""Tests of `devlxd.configured_options`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from devlxd.configured_options import ConfiguredOptions
from devlxd.logs.choice import LogChoice
from devlxd.model import Limits
from devlxd.reloading import Reread

#: What a level must be.
LEVELS_TEXT = "must be one of info, debug, warn, error"


class Options(ConfiguredOptions):
    """Some options, one of each kind."""

    optParameters: ClassVar[list[list[object]]] = [
        ["state", "s", None, "A directory."],
        ["location", None, None, "A place."],
    ]
    optFlags: ClassVar[list[list[object]]] = [["demo", None, "A demo."]]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self.choice = LogChoice()

    def opt_listen(self, value: str) -> None:
        """Add an endpoint, which must not be "bad"."""
        if value == "bad":
            raise usage.UsageError(f"--listen: {value} is bad")
        self["listen"].append(value)

    def postOptions(self) -> None:
        """See `usage.Options.postOptions`."""
        self.read_config()
        self.make_log_choice(self.choice)
        if self["state"] == "":
            raise usage.UsageError("--state: must not be empty")
        for value in (self["state"], *self["listen"]):
            if value and value.startswith("/nope"):
                option = "state" if value == self["state"] else "listen"
                raise usage.UsageError(f"--{option}: {value}: No such file")


class Twistd(usage.Options):
    """The options of twistd, as far as the log needs them."""

    optParameters: ClassVar[list[list[object]]] = [
        ["logger", None, None, ""],
        ["logfile", "l", None, ""],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["nodaemon", "n", ""],
        ["syslog", None, ""],
    ]
    subCommands: ClassVar[list[list[object]]] = [["devlxd", None, Options, ""]]


class OptionsTestCase(SynchronousTestCase):
    """A base class with a file."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")) / "devlxd.yaml"

    def parse(self, content: str, *arguments: str) -> Options:
        """Parse a command line with a file."""
        self.path.write_text(content)
        parsed = Options()
        parsed.parseOptions([f"--config={self.path}", *arguments])
        return parsed

    def refusal(self, content: str, *arguments: str) -> str:
        """Return the line with which a command line is refused."""
        error = self.assertRaises(SystemExit, self.parse, content, *arguments)
        line = str(error.code)
        self.assertNotIn("\n", line)
        return line.replace(str(self.path), "FILE")


class FileTests(OptionsTestCase):
    """Options in a file."""

    def test_values(self) -> None:
        """Options of the file are as if they were on the command line."""
        parsed = self.parse("state: /x\ndemo: true\nlisten: [a, b]\nlocation: 5")
        self.assertEqual(
            [parsed[name] for name in ("state", "demo", "listen", "location")],
            ["/x", 1, ["a", "b"], "5"],
        )
        self.assertEqual(self.parse("listen: a")["listen"], ["a"])
        self.assertIsNone(self.parse("demo: false")["state"])

    def test_precedence(self) -> None:
        """The command line wins: one text, a whole list, or a single limit."""
        parsed = self.parse(
            "state: /x\nlisten: [a, b]\nlocation: here\n"
            "limits: {downloads: 7, kept-events: 5}\nlimit: downloads=8",
            *("-s", "/y", "--listen=c", "--limit=kept-events=6"),
        )
        self.assertEqual((parsed["state"], parsed["location"]), ("/y", "here"))
        self.assertEqual(parsed["listen"], ["c"])
        self.assertEqual(parsed.limits(), Limits(downloads=8, kept_events=6))

    def test_mistakes(self) -> None:
        """Each mistake names the file and the line, and ends the process."""
        for content, line in (
            (
                "state: /x\nstat: /y",
                "2: there is no option stat (did you mean 'state'?)",
            ),
            ("\nlisten:\n- a\n- bad", "4: listen: bad is bad"),
            ("limits:\n  downloads: 0", "2: limit: downloads: must be from 1 to 1000"),
            (
                "limit:\n- downloads",
                "2: limit: 'downloads' must have the form NAME=VALUE",
            ),
            ("demo: false\nstate: /nope", "2: state: /nope: No such file"),
            ("listen:\n- /a\n- /nope/b", "3: listen: /nope/b: No such file"),
            ('state: ""', "1: state: must not be empty"),
            (
                "log-format: xml",
                "1: log-format: xml: must be one of text, json, journal",
            ),
            (
                "log-level: all",
                f"1: log-level: all: {LEVELS_TEXT}",
            ),
        ):
            self.assertEqual(self.refusal(content), f"devlxd: --config: FILE:{line}")

    def test_limit_without_such_name(self) -> None:
        """An unknown limit is refused, with the one that was probably meant."""
        self.assertIn(
            "FILE:1: limit: there is no limit 'download' (did you mean 'downloads'?)",
            self.refusal("limits: {download: 1}"),
        )

    def test_command_line(self) -> None:
        """Mistakes on the command line do not name the file."""
        self.assertEqual(
            self.refusal("state: /x", "--state=/nope"),
            "devlxd: --state: /nope: No such file",
        )
        self.assertEqual(
            self.refusal("state: /x", "--state="), "devlxd: --state: must not be empty"
        )
        self.assertEqual(
            self.refusal("", "--limit=downloads=x"),
            "devlxd: --limit: downloads: 'x' is not a number",
        )
        self.assertIn("--log-level: x: must be", self.refusal("", "--log-level=x"))

    def test_no_file(self) -> None:
        """A missing file is an error; without the option there is none."""
        error = self.assertRaises(
            SystemExit, Options().parseOptions, ["--config=/nonexistent"]
        )
        self.assertEqual(
            error.code, "devlxd: --config: /nonexistent: No such file or directory"
        )
        parsed = Options()
        parsed.parseOptions([])
        self.assertEqual(parsed.reread(), Reread(None, Limits(), None, []))


class RereadTests(OptionsTestCase):
    """Reading the file again."""

    def reread(self, parsed: Options, content: str) -> Reread:
        """Change the file and read it again."""
        self.path.write_text(content)
        return parsed.reread()

    def test_live(self) -> None:
        """The limits and the level are read again; the command line still wins."""
        parsed = self.parse("limits: {downloads: 7}", "--limit=kept-events=5")
        again = self.reread(
            parsed, "limits: {downloads: 8, kept-events: 9}\nlog-level: warn"
        )
        limits = Limits(downloads=8, kept_events=5)
        self.assertEqual(again, Reread(str(self.path), limits, "warn", []))
        parsed = self.parse("", "--log-level=error")
        self.assertEqual(self.reread(parsed, "log-level: warn").log_level, "error")

    def test_needs_restart(self) -> None:
        """Other options that differ are named, unless the command line has them."""
        parsed = self.parse("state: /x\nlisten: [a, b]\ndemo: true", "--location=l")
        again = self.reread(
            parsed, "# moved\nlisten: [a, c]\nstate: /x\nlocation: other"
        )
        self.assertEqual(again.needs_restart, ["demo", "listen"])
        self.assertEqual(parsed["listen"], ["a", "b"])

    def test_mistakes(self) -> None:
        """A mistake in the file changes nothing, and is one line."""
        parsed = self.parse("limits: {downloads: 7}")
        for content, line in (
            ("limits: {downloads: 0}", "1: limit: downloads: must be from 1 to 1000"),
            ("stat: x", "1: there is no option stat (did you mean 'state'?)"),
            ("listen: [a,\n bad]", "2: listen: bad is bad"),
            ("log-format: x", "1: log-format: x: must be one of text, json, journal"),
            (
                "\nlog-level: x",
                f"2: log-level: x: {LEVELS_TEXT}",
            ),
        ):
            error = self.assertRaises(ValueError, self.reread, parsed, content)
            self.assertEqual(str(error), f"{self.path}:{line}")
        self.assertEqual(parsed.limits(), Limits(downloads=7))


class LogOptionsTests(OptionsTestCase):
    """The options of the log, and those of twistd."""

    def twistd(self, *arguments: str) -> tuple[Twistd, Options]:
        """Parse a command line of twistd; return the options of both."""
        parsed = Twistd()
        parsed.parseOptions(arguments)
        options = parsed.subOptions
        assert isinstance(options, Options)
        return parsed, options

    def test_default(self) -> None:
        """Without an option, twistd writes the log as it always does."""
        parent, options = self.twistd("-n", "devlxd")
        self.assertIsNone(parent["logger"])
        self.assertFalse(options.choice.is_made)

    def test_chosen(self) -> None:
        """A format or a level makes twistd use an observer of devlxd."""
        for argument in ("--log-format=json", "--log-level=debug"):
            parent, options = self.twistd("-n", "-l", "-", "devlxd", argument)
            self.assertEqual(parent["logger"], "devlxd.logs.choice.observer")
            self.assertTrue(options.choice.is_made)
        self.assertEqual(options.choice.level, "debug")
        # The journal needs no standard output.
        self.assertTrue(self.twistd("devlxd", "--log-format=journal")[1].choice.is_made)

    def test_contradictions(self) -> None:
        """Options of twistd that contradict are refused."""
        for arguments, line in (
            (("devlxd", "--log-format=json"), "use it with twistd --nodaemon"),
            (
                ("-n", "--syslog", "devlxd", "--log-level=warn"),
                "without twistd --syslog",
            ),
            (
                ("-n", "-l", "x", "devlxd", "--log-level=warn"),
                "without twistd --logfile",
            ),
            (("-n", "--logger=x", "devlxd", "--log-level=warn"), "twistd --logger"),
        ):
            error = self.assertRaises(SystemExit, self.twistd, *arguments)
            self.assertIn(line, str(error.code))
