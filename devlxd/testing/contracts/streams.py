# -*- test-case-name: tests.httpserver.test_paced_body -*-
"""The contract of `IStream`."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from devlxd.interfaces import IContinuableStream, IStream
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.sinks import RecordingSink


class StreamContract(ContractBase):
    """Tests of all streams.

    Use `BodyStreamContract` or `MessageStreamContract`, which extend this suite.
    Override `make_stream`, `settle` if the source of the stream is not read
    immediately, and `assert_released` if the stream holds resources.

    :ivar stream: a new stream for each test.
    :ivar sink: a sink for it.
    """

    stream: IStream
    sink: RecordingSink

    def make_stream(self) -> IStream:
        """Hook: return a new stream that has not been started."""
        raise NotImplementedError

    def settle(self) -> None:
        """Hook: wait until the stream has written all it can; default: do nothing."""

    def assert_released(self) -> None:
        """Hook: check that `stream` holds no resources; default: do nothing."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the stream and the sink."""
        super().setUp()
        self.sink = RecordingSink()
        self.stream = self.make_stream()

    def start(self) -> None:
        """Start the stream, so that it begins to write."""
        self.stream.start(self.sink)
        self.settle()

    def resume(self) -> None:
        """Resume the stream."""
        self.stream.resume()
        self.settle()

    def test_interface(self) -> None:
        """The stream provides `IStream`."""
        self.assertTrue(verifyObject(IStream, self.stream))

    def test_close_before_start(self) -> None:
        """A stream that was never started releases everything when it is closed."""
        self.stream.close()
        self.assert_released()

    def test_close_twice(self) -> None:
        """Closing a stream a second time has no effect."""
        for start in (lambda: None, self.start):
            self.stream = self.make_stream()
            start()
            self.stream.close()
            self.stream.close()
            self.settle()
            self.assert_released()


class BodyStreamContract(StreamContract):
    """Tests of a stream that writes one body, such as an image.

    Override the hooks of `StreamContract`, and `body`.
    """

    #: The body that each stream of `make_stream` writes, in at least two pieces.
    body: bytes

    def pause_after_each_piece(self) -> None:
        """Make the sink pause the stream after each piece."""
        write = self.sink.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            self.stream.pause()

        self.patch(self.sink, "write", write_and_pause)

    def test_whole(self) -> None:
        """A stream writes its body, and finishes the response once."""
        self.start()
        self.assertEqual(self.sink.data(), self.body)
        self.assertEqual(self.sink.how_ended(), ["finish"])
        self.stream.close()
        self.assert_released()

    def test_pause(self) -> None:
        """A paused stream writes nothing, and continues when it is resumed."""
        self.pause_after_each_piece()
        self.start()
        self.assertEqual((len(self.sink.written), self.sink.ends), (1, []))
        pieces = 1
        while not self.sink.ends:
            self.assertEqual(len(self.sink.written), pieces)
            self.resume()
            pieces += 1
        self.assertEqual(self.sink.data(), self.body)
        self.assertEqual(self.sink.how_ended(), ["finish"])

    def test_close_while_paused(self) -> None:
        """A paused stream that is closed writes nothing, and releases everything."""
        self.pause_after_each_piece()
        self.start()
        self.stream.close()
        self.settle()
        self.assertEqual(len(self.sink.written), 1)
        self.assertEqual(self.sink.ends, [])
        self.assert_released()


class MessageStreamContract(StreamContract):
    """Tests of a stream of messages, such as events.

    Override the hooks of `StreamContract`, `produce` and `end`.
    """

    def produce(self) -> None:
        """Hook: cause one message of `stream`."""
        raise NotImplementedError

    def end(self) -> None:
        """Hook: end the messages of `stream`. This may cause further messages."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the stream, and resume it."""
        super().start()
        self.resume()

    def count_after_message(self) -> int:
        """Cause a message; return how many messages the stream has written."""
        self.produce()
        self.settle()
        return len(self.sink.written)

    def test_not_before_resumed(self) -> None:
        """A stream that was started writes nothing before it is resumed."""
        self.stream.start(self.sink)
        self.assertEqual(self.count_after_message(), 0)
        self.resume()
        self.assertEqual(len(self.sink.written), 1)

    def test_messages(self) -> None:
        """A stream writes each message in a call of its own."""
        self.start()
        for number in (1, 2, 3):
            self.assertEqual(self.count_after_message(), number)
        self.assertEqual(len(set(self.sink.written)), 3)
        self.assertEqual(self.sink.ends, [])

    def test_pause(self) -> None:
        """A paused stream writes nothing; it writes the messages when resumed."""
        self.start()
        self.stream.pause()
        self.stream.pause()
        for _ in range(2):
            self.assertEqual(self.count_after_message(), 0)
        self.resume()
        self.assertEqual(len(self.sink.written), 2)
        self.assertEqual(self.count_after_message(), 3)

    def test_close(self) -> None:
        """A closed stream writes nothing, even if it is paused or resumed."""
        self.start()
        self.assertEqual(self.count_after_message(), 1)
        self.stream.close()
        self.assert_released()
        self.stream.pause()
        self.resume()
        self.assertEqual(self.count_after_message(), 1)
        self.end()
        self.settle()
        self.assertEqual((len(self.sink.written), self.sink.ends), (1, []))

    def test_end(self) -> None:
        """When its messages end, a stream finishes the response once."""
        self.start()
        self.end()
        self.settle()
        self.assertEqual(self.sink.how_ended(), ["finish"])
        self.stream.close()
        self.assert_released()


class ContinuableStreamContract(MessageStreamContract):
    """Tests of a stream of messages that another process can continue.

    Override the hooks of `MessageStreamContract`, and `request`.
    """

    def request(self, target: str) -> IStream:
        """Hook: return the stream that is the response to a request of ``target``."""
        raise NotImplementedError

    def test_continuable(self) -> None:
        """The stream provides `IContinuableStream`."""
        self.assertTrue(verifyObject(IContinuableStream, self.stream))

    def test_continued(self) -> None:
        """Another stream writes the messages that a closed one has not written."""
        written: list[bytes] = []
        for _ in range(3):
            self.start()
            self.count_after_message()
            self.stream.pause()
            self.count_after_message()
            stream = IContinuableStream(self.stream)
            target = stream.target()
            assert target is not None
            self.stream.close()
            written += self.sink.written
            self.sink = RecordingSink()
            self.produce()
            self.stream = self.request(target)
        self.start()
        self.assertEqual(len(written + self.sink.written), 9)
        self.assertEqual(len(set(written + self.sink.written)), 9)

    def test_ended(self) -> None:
        """A stream that is closed cannot be continued."""
        self.start()
        self.stream.close()
        self.assertIsNone(IContinuableStream(self.stream).target())
