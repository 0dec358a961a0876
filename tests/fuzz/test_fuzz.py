"""Tests of the targets of fuzzing, with a few examples of each."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.targets import TARGETS

#: How many examples are tried: about as many as take a second.
EXAMPLES = 40


class FuzzTests(SynchronousTestCase):
    """The same examples in each run; ``python -m tests.fuzz`` tries others."""

    def test_requests(self) -> None:
        """Any bytes are answered by well-formed responses, the same in any split."""
        TARGETS["requests"].run(EXAMPLES)

    def test_questions(self) -> None:
        """The fast path of questions changes no byte and no state of a connection."""
        TARGETS["questions"].run(2 * EXAMPLES)

    def test_frames(self) -> None:
        """Any bytes on a websocket are answered by well-formed frames."""
        TARGETS["frames"].run(EXAMPLES)

    def test_documents(self) -> None:
        """Any bytes are a document, or are refused with a reason and a line."""
        TARGETS["documents"].run(4 * EXAMPLES)

    def test_configs(self) -> None:
        """Any bytes are a config file, or are refused with a reason and a line."""
        TARGETS["configs"].run(4 * EXAMPLES)

    def test_records(self) -> None:
        """Any bytes are a record of connections, or are refused with a reason."""
        TARGETS["records"].run(4 * EXAMPLES)

    def test_handovers(self) -> None:
        """Restarts between any pieces of requests change no byte of the responses."""
        TARGETS["handovers"].run(EXAMPLES // 4)
