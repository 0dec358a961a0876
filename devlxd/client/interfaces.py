"""The interface of a guest, as programs on Twisted use it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from zope.interface import Interface

from devlxd.client.values import Event


class IGuest(Interface):
    """The guest API, as a container sees it.

    Every coroutine raises an exception of `devlxd.client.GuestError`, and nothing else:

    * `Forbidden` if the server refuses the caller,
    * `Unavailable` if no server answers, or not in time,
    * `ProtocolError` if the answer makes no sense,

    and those that it names.
    """

    def info() -> Coroutine[Any, Any, Mapping[str, Any]]:
        """Ask for ``/1.0``.

        :return: its members, and ``dialect`` and ``socket``.
        """

    def config() -> Coroutine[Any, Any, Mapping[str, str]]:
        """Ask for the config.

        :return: all keys and values that the guest may read.
        """

    def get(key: str) -> Coroutine[Any, Any, str]:
        """Ask for the value of a key.

        :raises NotFound: if there is no such key, or the guest may not read it.
        """

    def devices() -> Coroutine[Any, Any, Mapping[str, Mapping[str, str]]]:
        """Ask for the devices.

        :return: all devices that the guest may see, by name.
        :raises NotSupported: in ``apollo``.
        """

    def device(name: str) -> Coroutine[Any, Any, Mapping[str, str]]:
        """Ask for one device.

        :raises NotFound: if there is no such device.
        :raises NotSupported: in ``apollo``.
        """

    def meta_data() -> Coroutine[Any, Any, str]:
        """Ask for the meta-data for cloud-init.

        :return: YAML.
        """

    def set_state(state: str) -> Coroutine[Any, Any, None]:
        """Report the guest state to the host: ``Ready`` or ``Started``.

        :raises NotSupported: in ``lxd`` and ``apollo``.
        """

    def ready() -> Coroutine[Any, Any, None]:
        """Report to the host that the guest is ready: ``set_state("Ready")``."""

    def image(
        fingerprint: str,
        path: str | PathLike[str],
        progress: Callable[[int, int | None], None] | None = None,
        replace: bool = True,
    ) -> Coroutine[Any, Any, tuple[Path, ...]]:
        """Download an image.

        Nothing stands under the final names until all bytes are there and match the
        fingerprint; the root file system of a split image gets its name first. An
        interrupted download is continued, until there was no further byte for 60 s; a
        connection without a byte for 30 s is given up. The timeout of other questions
        does not count.

        :param fingerprint: all 64 hexadecimal digits.
        :param path: the name of the file; of a split image the root file system gets
            this name with ``.rootfs``. If it is a directory, the server's names are
            used in it; instead of one that is not a plain name, one made from the
            fingerprint.
        :param progress: called with the number of bytes so far, and of all bytes if it
            is known. A server that cannot continue a download begins again with the
            first byte. What it raises ends the download.
        :param replace: whether files with these names are replaced. Otherwise they are
            an error, also if they appear during the download.
        :return: the paths of the files: one, or the two of a split image.
        :raises NotFound: if there is no such image, or the guest may not download it.
        :raises DoesNotMatch: if the bytes do not match the fingerprint.
        :raises OSError: if a file cannot be written.
        :raises ValueError: if the fingerprint is not one.
        """

    def events(
        types: Collection[str] = (),
        since: str | None = None,
        on_position: Callable[[str], object] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Listen to events.

        The iterator connects when the first event is asked for, and raises what a
        question raises if that fails. Later it connects again by itself, after 0.1 to
        10 seconds, and continues after the last event. It yields `Lost` when events
        were lost: always after a new connection to a server that does not know
        ``since`` (LXD and Incus).

        Later it raises only what does not end by waiting: `Forbidden` if the API is
        switched off for the container (an established connection may stay open),
        `NotSupported`, and `ProtocolError`. Then the iterator has ended.

        A connection is open until the iterator is closed with ``aclose()``, collected,
        or the coroutine that waits for an event is cancelled. Events that are not
        asked for are not read: they wait at the server, which may end a connection
        that is not read for long (Incus: after half a minute).

        :param types: ``config``, ``device``, or both; default: both.
        :param since: the timestamp of the last event that was received; default: to
            begin now.
        :param on_position: called with the timestamp to continue from when a server has
            accepted a connection, before the first event. A program that keeps it, and
            then the timestamp of each event, misses nothing when it is started again.
        :raises ValueError: immediately, if there is no such type.
        :raises NotSupported: in ``apollo``.
        """
