"""Tests of `devlxd.host.stdout`."""

from __future__ import annotations

import os
import pty
import socket
import tempfile
import termios
from collections.abc import Callable
from typing import TextIO

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogPublisher, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host import stdout
from devlxd.host.stdout import DroppingFile, without_waiting

LINE = "x" * 999 + "\n"


class WithoutWaitingTests(SynchronousTestCase):
    """A standard output that nobody reads."""

    def opened(self, descriptor: int) -> TextIO:
        """Return a file for a descriptor, both of which are closed in the end."""
        file = os.fdopen(descriptor, "w")
        self.addCleanup(file.close)
        return file

    def assert_drops(self, file: TextIO, read: Callable[[], bytes]) -> None:
        """Check that writing does not wait, and that the drops are told of."""
        for _ in range(2000):
            file.write(LINE)
        got = b""
        while not got.endswith(b"last\n"):
            got += read()
            file.write("last\n")
            got += read()
        lines = got.replace(b"\r", b"").decode().splitlines(keepends=True)
        (notice,) = [n for n, line in enumerate(lines) if "dropped" in line]
        self.assertEqual(set(lines[:notice]), {LINE})
        self.assertEqual(lines[notice], f"{2000 - notice} log lines were dropped\n")
        self.assertEqual(lines[notice + 1 :], ["last\n"])

    def test_pipe(self) -> None:
        """A full pipe drops lines, and says how many when there is room again."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        file = without_waiting(self.opened(writing))
        self.assert_drops(file, lambda: os.read(reading, 10**6))
        # Who shares it does not notice.
        self.assertTrue(os.get_blocking(writing))

    def test_pipe_of_another(self) -> None:
        """So does a pipe that this process may not open once more."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        writer = stdout._PipeWriter(writing)
        self.patch(writer, "_open", lambda: writing)
        self.addCleanup(os.close, writing)
        file: TextIO = DroppingFile(writer)  # type: ignore[assignment]  # as in use
        self.assert_drops(file, lambda: os.read(reading, 10**6))

    def test_socket(self) -> None:
        """So does a socket, as journald gives one."""
        journald, ours = socket.socketpair()
        self.addCleanup(journald.close)
        file = without_waiting(self.opened(ours.detach()))
        self.assert_drops(file, lambda: journald.recv(10**7))

    def test_terminal(self) -> None:
        """So does a terminal that was stopped."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        file = without_waiting(self.opened(slave))
        termios.tcflow(slave, termios.TCOOFF)
        file.write("while it is stopped\n")
        termios.tcflow(slave, termios.TCOON)
        file.write("then\n")
        # A terminal gives one line at a time, or several.
        with open(master, "rb", closefd=False, buffering=0) as terminal:
            lines = [terminal.readline() for _ in range(2)]
        self.assertEqual(lines, [b"1 log lines were dropped\r\n", b"then\r\n"])

    def test_nobody_reads_any_more(self) -> None:
        """A reader that went does no harm."""
        reading, writing = os.pipe()
        file = without_waiting(self.opened(writing))
        os.close(reading)
        file.write(LINE)

    def test_file(self) -> None:
        """A regular file is used as it is."""
        with tempfile.TemporaryFile("w") as file:
            self.assertIs(without_waiting(file), file)

    def test_closed(self) -> None:
        """So is one that is closed, or was never there."""
        with open(os.devnull, "w") as file:
            pass
        self.assertIs(without_waiting(file), file)
        never: TextIO = None  # type: ignore[assignment]  # sys.stdout without fd 1
        self.assertIs(without_waiting(never), None)

    def test_log(self) -> None:
        """It is what twistd logs to: text as it is, whatever it has in it."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        file = without_waiting(self.opened(writing))
        publisher = LogPublisher(textFileLogObserver(file))
        Logger("n", observer=publisher).info("gr\u00fc\u00df \udcff")
        self.assertIn("gr\u00fc\u00df \\udcff\n".encode(), os.read(reading, 10**6))


class DroppingFileTests(SynchronousTestCase):
    """What is written, with so much room."""

    @given(st.lists(st.integers(1, 30), max_size=30), st.lists(st.integers(0, 40)))
    def test_whole_lines(self, lines: list[int], room: list[int]) -> None:
        """Each line is there whole or counted, in order, however little room is."""
        out = b""
        rooms = iter(room)

        def write(data: bytes) -> int:
            nonlocal out
            taken = data[: next(rooms, 1000)] if data else b""
            out += taken
            return len(taken)

        file = DroppingFile(write)
        texts = [f"{n}:{'x' * size}\n" for n, size in enumerate(lines)]
        for text in (*texts, "last\n", "very last\n"):
            file.write(text)
        expected = iter([*texts, "last\n", "very last\n"])
        for line in out.decode().splitlines(keepends=True):
            if line.endswith("dropped\n"):
                for _ in range(int(line.split()[0])):
                    next(expected)
            elif line.endswith("\n"):
                self.assertEqual(line, next(expected))
        if len(room) < len(lines):
            self.assertTrue(out.endswith(b"very last\n"), out)
