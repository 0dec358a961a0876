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
from devlxd.host.stdout import DroppingFile, nonblocking

LINE = "x" * 999 + "\n"


class NonblockingTests(SynchronousTestCase):
    """A standard output that no process reads."""

    def opened(self, descriptor: int) -> TextIO:
        """Return a file for a descriptor, which the test closes at its end."""
        file = os.fdopen(descriptor, "w")
        self.addCleanup(file.close)
        return file

    def assert_drops(self, file: TextIO, read: Callable[[], bytes]) -> None:
        """Check that writing does not block, and that dropped lines are counted."""
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
        """Lines for a full pipe are dropped; their number is written later."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        file = nonblocking(self.opened(writing))
        self.assert_drops(file, lambda: os.read(reading, 10**6))
        # Other processes that share it still get a blocking pipe.
        self.assertTrue(os.get_blocking(writing))

    def test_pipe_of_another(self) -> None:
        """Lines for a full pipe of another user are dropped."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        writer = stdout._PipeWriter(writing)
        self.patch(writer, "_open", lambda: writing)
        self.addCleanup(os.close, writing)
        file: TextIO = DroppingFile(writer)  # type: ignore[assignment]  # as `nonblocking` does
        self.assert_drops(file, lambda: os.read(reading, 10**6))

    def test_socket(self) -> None:
        """Lines for a full socket, such as journald's, are dropped."""
        journald, ours = socket.socketpair()
        self.addCleanup(journald.close)
        file = nonblocking(self.opened(ours.detach()))
        self.assert_drops(file, lambda: journald.recv(10**7))

    def test_terminal(self) -> None:
        """Lines for a terminal that was stopped with Ctrl-S are dropped."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        file = nonblocking(self.opened(slave))
        termios.tcflow(slave, termios.TCOOFF)
        file.write("while it is stopped\n")
        termios.tcflow(slave, termios.TCOON)
        file.write("then\n")
        # One read of a terminal may return several lines.
        with open(master, "rb", closefd=False, buffering=0) as terminal:
            lines = [terminal.readline() for _ in range(2)]
        self.assertEqual(lines, [b"1 log lines were dropped\r\n", b"then\r\n"])

    def test_closed_reader(self) -> None:
        """Writing to a pipe without a reader raises nothing."""
        reading, writing = os.pipe()
        file = nonblocking(self.opened(writing))
        os.close(reading)
        file.write(LINE)

    def test_file(self) -> None:
        """A regular file is returned as it is."""
        with tempfile.TemporaryFile("w") as file:
            self.assertIs(nonblocking(file), file)

    def test_closed(self) -> None:
        """A closed file, or ``None``, is returned as it is."""
        with open(os.devnull, "w") as file:
            pass
        self.assertIs(nonblocking(file), file)
        never: TextIO = None  # type: ignore[assignment]  # sys.stdout without descriptor 1
        self.assertIs(nonblocking(never), None)

    def test_log(self) -> None:
        """Any text can be logged to the file; it is encoded without an error."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        file = nonblocking(self.opened(writing))
        publisher = LogPublisher(textFileLogObserver(file))
        Logger("n", observer=publisher).info("gr\u00fc\u00df \udcff")
        self.assertIn("gr\u00fc\u00df \\udcff\n".encode(), os.read(reading, 10**6))


class DroppingFileTests(SynchronousTestCase):
    """Lines that are written to a file that accepts only some bytes."""

    @given(st.lists(st.integers(1, 30), max_size=30), st.lists(st.integers(0, 40)))
    def test_whole_lines(self, lines: list[int], accepted: list[int]) -> None:
        """Each line is written whole, or counted as dropped; the order is kept."""
        out = b""
        limits = iter(accepted)

        def write(data: bytes) -> int:
            nonlocal out
            written = data[: next(limits, 1000)] if data else b""
            out += written
            return len(written)

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
        if len(accepted) < len(lines):
            self.assertTrue(out.endswith(b"very last\n"), out)

    def test_signal_handler(self) -> None:
        """A signal handler may log while a line is being written."""
        written: list[bytes] = []

        def write(data: bytes) -> int:
            if data:
                written.append(data)
                if len(written) == 1:
                    file.write("in a signal handler\n")
            return len(data)

        file = DroppingFile(write)
        file.write("a\n")
        self.assertEqual(written, [b"a\n", b"in a signal handler\n"])
