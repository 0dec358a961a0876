# -*- test-case-name: tests.client.test_image_download -*-
"""The download of an image over several connections, without input and output.

It does write files: the data comes in small pieces, and goes to the page cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from devlxd.client.errors import GuestError, ProtocolError, Unavailable
from devlxd.client.event_feed import pauses
from devlxd.client.exchanges import Request, Response
from devlxd.client.image_writer import ImageWriter
from devlxd.client.questions import MAX_TEXT, error_of

#: How long the server may send nothing on a connection, in seconds.
SILENCE = 30

#: How long to continue without a further byte of the image, in seconds.
PATIENCE = 60

#: How often a download may begin again, because the server cannot continue it.
MAX_RESTARTS = 10

#: The status codes of a server that may answer otherwise in a moment: too many
#: downloads, or it cannot read the image, is starting, or waits for another one.
_LATER = frozenset({429, 502, 503, 504})

_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

_CONTENT_RANGE = re.compile(
    r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII | re.IGNORECASE
)

#: A validator that a request can repeat: a strong ETag, or a date (RFC 9110).
_VALIDATOR = re.compile(r'"[!-~]{0,200}"|[A-Z][A-Za-z0-9,: ]{1,40}', re.ASCII)


class ImageDownload:
    """A download. It is a `devlxd.client.receivers.Receiver` of all its responses.

    A face exchanges requests until `end` returns. After each `Unavailable` it waits as
    `interrupted` says. At last it calls `flush` and `finish`; and `abort` in any case.

    :param fingerprint: of the image.
    :param path: see `IGuest.image`, as ``progress`` and ``replace``.
    :param now: returns the time, in seconds.
    :raises ValueError: if the fingerprint is not one.
    """

    def __init__(
        self,
        fingerprint: str,
        path: str | os.PathLike[str],
        progress: Callable[[int, int | None], None] | None,
        now: Callable[[], float],
        replace: bool = True,
    ) -> None:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise ValueError("a fingerprint has 64 hexadecimal digits")
        self._fingerprint = fingerprint.lower()
        self._path = Path(path)
        self._replace = replace
        self._progress = progress
        self._now = now
        self._heard = self._begun = now()
        self._pauses = pauses()
        self._writer: ImageWriter | None = None
        self._headers: Mapping[str, str] = {}
        self._refusal: Response | None = None
        self._position = 0
        self._length: int | None = None
        self._responses = self._restarts = 0

    def request(self) -> Request:
        """Return the next request: for the image, or for the rest of it."""
        headers = {}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
            for name in ("etag", "last-modified"):
                if _VALIDATOR.fullmatch(self._headers.get(name, "")):
                    headers["If-Range"] = self._headers[name]
                    break
        path = f"/1.0/images/{self._fingerprint}/export"
        return Request(path, headers=headers)

    def silence(self) -> float:
        """Return how long the server may send nothing now, in seconds."""
        return min(SILENCE, max(self._patience(), 1.0))

    def begin(
        self, status: int, headers: Mapping[str, str], length: int | None
    ) -> None:
        """See `Receiver.begin`.

        :raises ProtocolError: if the response is not an image, or not its rest.
        :raises OSError: if a file cannot be created.
        """
        self._responses += 1
        self._begun = self._now()
        self._refusal = None
        if status == 200:
            self._start(headers, length)
        elif status == 206:
            self._continue(headers, length)
        else:
            self._refusal = Response(status, headers, b"")

    def receive(self, data: bytes) -> None:
        """See `Receiver.receive`.

        :raises ProtocolError: if the response is not an image, or not its rest.
        :raises OSError: if a file cannot be written.
        """
        if self._refusal is not None:
            self._refuse(self._refusal, data)
            return
        assert self._writer is not None
        self._position += len(data)
        if self._length is not None and self._position > self._length:
            raise ProtocolError("the server sends more than it has announced")
        self._writer.receive(data)
        self._heard, self._pauses = self._now(), pauses()
        if self._progress is not None:
            self._progress(self._writer.done, self._writer.total(self._length))

    def end(self) -> None:
        """Check the image at the end of a response.

        :raises Unavailable: if it is not there yet, see `interrupted`.
        :raises GuestError: if the server refuses it, or it is not what it should be.
        """
        if self._refusal is not None:
            raise self._refused(self._refusal)
        if self._length is not None and self._position < self._length:
            raise Unavailable("the server has closed the connection")
        assert self._writer is not None
        self._writer.check()

    def interrupted(self, error: Unavailable) -> float:
        """Return after how many seconds to send the next request.

        :param error: why the last one did not succeed. It is raised if the server has
            not answered at all yet, or will not answer otherwise.
        :raises Unavailable: if there was no further byte for too long.
        """
        status = self._refusal.status if self._refusal is not None else None
        if not self._responses or status not in {None, 416, *_LATER}:
            raise error
        left = self._patience()
        if left <= 0:
            text = f"no further byte of the image within {PATIENCE} s: {error}"
            raise Unavailable(text) from None
        # What follows may be a failure without a response.
        self._refusal = None
        return min(next(self._pauses), left)

    def flush(self) -> None:
        """Write the files to the disk. May be called in another thread.

        :raises OSError: if that fails.
        """
        assert self._writer is not None
        self._writer.flush()

    def finish(self) -> tuple[Path, ...]:
        """Give the files their final names, and return these.

        :raises OSError: if that fails.
        """
        assert self._writer is not None
        paths = self._writer.place()
        self._writer = None
        return paths

    def abort(self) -> None:
        """Remove the files of a download that is not finished."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    def _patience(self) -> float:
        """Return how long to continue without a further byte, in seconds."""
        return self._heard + PATIENCE - self._now()

    def _start(self, headers: Mapping[str, str], length: int | None) -> None:
        """Begin with the first byte; what was received before is of no use."""
        if self._writer is not None:
            self._restart()
        self._headers, self._length = headers, length
        self._writer = ImageWriter(
            self._fingerprint, self._path, headers, self._replace
        )

    def _restart(self) -> None:
        self.abort()
        self._restarts += self._position > 0
        self._position = 0
        if self._restarts > MAX_RESTARTS:
            raise ProtocolError(
                f"the download was interrupted {self._restarts} times, and the server "
                "cannot continue it"
            )

    def _continue(self, headers: Mapping[str, str], length: int | None) -> None:
        """Check that a response is the rest of the image."""
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or not self._position:
            raise ProtocolError(
                "the server sends a part of the image, and not the rest"
            )
        first, last, total = map(int, found.groups())
        fits = (
            (first, last) == (self._position, total - 1)
            and self._length in {None, total}
            and length in {None, total - first}
        )
        if not fits:
            raise ProtocolError("the server sends another part of the image")
        if headers.get("content-type") != self._headers.get("content-type"):
            raise ProtocolError("the server continues the image in another form")
        self._length = total

    def _refuse(self, refusal: Response, data: bytes) -> None:
        """Receive the text of a refusal."""
        body = refusal.body + data
        self._refusal = Response(refusal.status, refusal.headers, body)
        if len(body) > 4 * MAX_TEXT or self._now() >= self._begun + SILENCE:
            raise self._refused(self._refusal)

    def _refused(self, refusal: Response) -> GuestError:
        """Return the exception for a refusal."""
        if refusal.status == 416 and self._position:
            self._restart()
            return Unavailable("the server cannot continue the image")
        return error_of(refusal)
