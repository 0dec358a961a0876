# -*- test-case-name: tests.client.test_image_guests -*-
"""The download of an image, for programs without Twisted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from devlxd.client.errors import Unavailable
from devlxd.client.image_download import ImageDownload
from devlxd.client.sync_connection import Connection


def fetch(
    paths: Sequence[str],
    fingerprint: str,
    path: str | os.PathLike[str],
    progress: Callable[[int, int | None], None] | None,
    replace: bool,
) -> tuple[Path, ...]:
    """Download an image, over as many connections as necessary.

    :param paths: the sockets to try, in order. The other parameters, what it returns
        and what it raises are those of `IGuest.image`.
    """
    download = ImageDownload(fingerprint, path, progress, monotonic, replace)
    try:
        while (pause := _try(paths, download)) is not None:
            sleep(pause)
        download.flush()
        return download.finish()
    finally:
        download.abort()


def _try(paths: Sequence[str], download: ImageDownload) -> float | None:
    """Exchange one request; return the pause before the next if there must be one."""
    silence = download.silence()
    with closing(Connection(paths, silence)) as connection:
        try:
            connection.exchange(download.request(), download, silence)
            download.end()
        except Unavailable as error:
            return download.interrupted(error)
    return None
