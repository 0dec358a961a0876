"""Tests of `devlxd.commands.guest.interrupts`."""

from __future__ import annotations

import os
import signal
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from devlxd.commands.guest.interrupts import SIGNALS, Interrupts


class InterruptsTests(SynchronousTestCase):
    """Interrupts that wait."""

    def setUp(self) -> None:
        for number in SIGNALS:
            before = signal.signal(number, signal.default_int_handler)
            self.addCleanup(signal.signal, number, before)

    def test_deferred(self) -> None:
        """An interrupt is raised when the work is finished, not within."""
        for number in SIGNALS:
            done = False
            with self.assertRaises(KeyboardInterrupt), Interrupts() as interrupts:
                os.kill(os.getpid(), number)
                done = True
                self.assertTrue(interrupts.arrived)
            self.assertTrue(done)
            self.assertIs(signal.getsignal(number), signal.default_int_handler)

    def test_none(self) -> None:
        """Without an interrupt nothing is raised, and errors are what they are."""
        with Interrupts() as interrupts:
            pass
        self.assertFalse(interrupts.arrived)
        with self.assertRaises(ZeroDivisionError), Interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ZeroDivisionError

    def test_ignored(self) -> None:
        """A signal that is ignored, as by nohup, does not interrupt."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
        self.assertFalse(interrupts.arrived)
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a command, in a session of its own, until the test ends."""
        process = subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_wait(self) -> None:
        """Waiting ends with the process, or with an interrupt."""
        with Interrupts() as interrupts:
            process = self.start("exit 3")
            interrupts.wait(process)
            self.assertEqual(process.poll(), 3)
        with self.assertRaises(KeyboardInterrupt), Interrupts() as interrupts:
            process = self.start(
                f"kill -TERM {os.getpid()}; exec cat /dev/zero >/dev/null"
            )
            interrupts.wait(process)
            self.assertIsNone(process.poll())

    def test_wait_after_interrupt(self) -> None:
        """After an interrupt there is no waiting."""
        with self.assertRaises(KeyboardInterrupt), Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            process = self.start("exec cat /dev/zero >/dev/null")
            interrupts.wait(process)
            self.assertIsNone(process.poll())
