# -*- test-case-name: tests.client.test_image_download -*-
"""Writing an image from the body of a response, and comparing it with its fingerprint.

The fingerprint is the SHA-256 of the file, or of the two files of a split image one
after the other, the metadata first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from devlxd.client.errors import DoesNotMatch, ProtocolError
from devlxd.client.form_parts import FormReader, PartHead, kind, parameter
from devlxd.client.image_files import ROOTFS, PartialFile, final_path, place

#: The names that the parts of a split image may have, in their order: the root file
#: system of a virtual machine has another one.
PARTS = (("metadata",), ("rootfs", "rootfs.img"))


class ImageWriter:
    """Writes an image that arrives from its beginning.

    :param fingerprint: 64 hex digits in lower case.
    :param path: the path of the file, or of a directory, see `IGuest.image`.
    :param headers: those of the response, by their names in lower case.
    :param replace: whether files that exist are replaced.
    :ivar done: how many bytes of the image were written.
    :raises ProtocolError: if the response is not an image.
    :raises OSError: if a file cannot be created.
    """

    def __init__(
        self,
        fingerprint: str,
        path: Path,
        headers: Mapping[str, str],
        replace: bool = True,
    ) -> None:
        self._fingerprint = fingerprint
        self._path = path
        self._replace = replace
        self._digest = hashlib.sha256()
        self._files: list[PartialFile] = []
        self._form: FormReader | None = None
        #: How much of the body is not image, in bytes, once that is known.
        self._overhead: int | None = None
        self.done = 0
        content_type = headers.get("content-type", "")
        if kind(content_type) == "multipart/form-data":
            self._form = FormReader(parameter(content_type, "boundary"))
        elif kind(content_type) == "application/octet-stream":
            self._overhead = 0
            self._open(parameter(headers.get("content-disposition", ""), "filename"))
        else:
            raise ProtocolError("the answer is not an image, by its Content-Type")

    def receive(self, data: bytes) -> None:
        """Write the next data of the body.

        :raises ProtocolError: if a form is malformed, or has other parts.
        :raises OSError: if a file cannot be written.
        """
        if self._form is None:
            self._write(data)
            return
        for item in self._form.receive(data):
            if isinstance(item, PartHead):
                self._begin(item)
                if len(self._files) == len(PARTS):
                    self._overhead = self._form.framing + self._form.closing_length
            else:
                self._write(item)

    def total(self, length: int | None) -> int | None:
        """Return the size of the image, in bytes; ``None`` if it is not known.

        :param length: the length of the body, if it is known.
        """
        if length is None or self._overhead is None:
            return None
        return length - self._overhead

    def check(self) -> None:
        """Check the image when all data was received.

        :raises ProtocolError: if parts are missing.
        :raises DoesNotMatch: if the bytes do not match the fingerprint.
        """
        if self._form is not None and not (
            self._form.is_complete and len(self._files) == len(PARTS)
        ):
            raise ProtocolError("an image in two files is not complete")
        found = self._digest.hexdigest()
        if found != self._fingerprint:
            raise DoesNotMatch(
                f"the image has the fingerprint {found}, not {self._fingerprint}"
            )

    def flush(self) -> None:
        """Write the files to the disk. May be called in another thread.

        :raises OSError: if that fails.
        """
        for file in list(self._files):
            file.flush()

    def place(self) -> tuple[Path, ...]:
        """Give the files their names, and return these.

        :raises OSError: if that fails.
        """
        place(self._files)
        return tuple(file.path for file in self._files)

    def discard(self) -> None:
        """Remove the files."""
        for file in self._files:
            file.discard()

    def _begin(self, head: PartHead) -> None:
        """Begin with a part of a form."""
        number = len(self._files)
        if number == len(PARTS) or head.name not in PARTS[number]:
            raise ProtocolError("an image in two files has other parts")
        self._open(head.filename, ROOTFS if self._files else "")

    def _open(self, name: str, suffix: str = "") -> None:
        """Open the next file."""
        path = final_path(self._path, self._fingerprint, name, suffix)
        if any(file.path == path for file in self._files):
            raise ProtocolError("both files of an image have the same name")
        self._files.append(PartialFile(path, self._replace))

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._files[-1].write(data)
        self.done += len(data)
