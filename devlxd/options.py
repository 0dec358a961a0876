# -*- test-case-name: tests.test_tap -*-
"""The command line of ``twistd devlxd``: its options, and checks of their values.

All values that can be checked are checked before anything starts. An error ends
the process with one line on standard error and exit status 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from twisted.copyright import version as twisted_version
from twisted.python import usage

from devlxd import __version__
from devlxd.admin.options import AdminOptions
from devlxd.configured_options import ConfiguredOptions
from devlxd.container_sources import (
    DirectorySource,
    IContainerSource,
    parse_source,
)
from devlxd.fast_paths import enabled_paths
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DEFAULT_DIALECT, DIALECTS
from devlxd.listen_option import ListenOption
from devlxd.logs.choice import FORMATS, LEVELS, PROCESS_CHOICE
from devlxd.model import is_container_name
from devlxd.peers.capabilities import check_may_identify
from devlxd.state_directory import StateDirectory, StateError, has_state

#: The default of ``--state``.
_STATE = "/var/lib/devlxd"

#: The form of an ``--images`` that names the socket of an LXD.
_LXD_IMAGES = re.compile(r"lxd:unix:(.+)", re.DOTALL)


def _defaults(value_of: Callable[[Dialect], object]) -> str:
    """Return the part of a help text that states a default.

    :param value_of: returns the default for a dialect; ``None`` for no default.
    """
    default = value_of(DEFAULT_DIALECT)
    others = "".join(
        f"; for {dialect.name}: {value_of(dialect)}"
        for dialect in DIALECTS.values()
        if value_of(dialect) not in (None, default)
    )
    return f"[default: {default}{others}]"


class Options(AdminOptions, ConfiguredOptions):
    """The options of ``twistd devlxd``."""

    longdesc = (
        "Serves the guest API of LXD to the containers of this host. Mount the "
        "directory of the socket into each container, as the README explains."
    )

    optParameters: ClassVar[list[list[object]]] = [
        [
            "containers",
            "c",
            None,
            "The directory with one document for each container, or "
            "etcd:ENDPOINT[,ENDPOINT...]?prefix=/devlxd/HOST/[&user=NAME&"
            "password-file=FILE][&ca=FILE][&cert=FILE&key=FILE] for keys in etcd. "
            "ENDPOINT is http://HOST:PORT, https://HOST:PORT or unix:PATH. "
            + _defaults(lambda dialect: dialect.containers),
        ],
        [
            "images",
            "i",
            None,
            "The directory with the images that guests may download, or "
            "lxd:unix:SOCKET for the images of the LXD that listens there. "
            + _defaults(lambda dialect: dialect.images),
        ],
        [
            "state",
            "s",
            None,
            "The directory for devlxd's own data: recent events, guest states, and the "
            "last documents of an etcd. It is created when it is missing. "
            f"[default: {_STATE}]",
        ],
        [
            "location",
            None,
            None,
            "Where the containers run, as guests read it. [default: the name of the "
            "host]",
        ],
        [
            "switch",
            None,
            None,
            "The config key that switches the API off for a container. Use another "
            "key where LXD serves its own guest API. "
            + _defaults(lambda dialect: dialect.switch),
        ],
        [
            "assume",
            "a",
            None,
            "Treat every caller as root of this container. For experiments only: "
            "callers are not identified.",
        ],
    ]

    optFlags: ClassVar[list[list[object]]] = [
        [
            "demo",
            None,
            "Serve an example container from a temporary directory, and print "
            "commands to try.",
        ],
    ]

    compData = usage.Completions(
        optActions={
            "config": usage.CompleteFiles(),
            "containers": usage.CompleteDirs(),
            "images": usage.CompleteDirs(),
            "listen": usage.CompleteFiles(),
            "log-format": usage.CompleteList(FORMATS),
            "log-level": usage.CompleteList(LEVELS),
            "admin": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        #: The addresses of the endpoints; see `ListenOption.check`.
        self.addresses: set[str] = set()

    def opt_listen(self, value: str) -> None:
        """Add an endpoint; the help text is below."""
        try:
            self["listen"].append(ListenOption.parse(value))
        except ValueError as error:
            raise usage.UsageError(f"--listen: {error}") from None

    opt_listen.__doc__ = (
        "[DIALECT=]ENDPOINT to listen on; may be repeated. ENDPOINT is a directory, "
        'created when it is missing, in which the socket is "sock"; or the path of a '
        'socket, named "sock" or "*.sock"; or each:DIRECTORY, for a socket '
        "DIRECTORY/NAME/sock of each container; or a Twisted endpoint string such as "
        f"unix:PATH. DIALECT is one of {', '.join(DIALECTS)}. "
        + _defaults(lambda dialect: dialect.socket)
    )

    opt_l = opt_listen

    def opt_version(self) -> None:
        """Print the versions of devlxd and Twisted, and exit."""
        print(f"devlxd {__version__} (Twisted {twisted_version})")  # noqa: T201 # asked for
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        """See `usage.Options.parseArgs`; there are no arguments."""
        if arguments:
            raise usage.UsageError(f"no arguments are expected: {arguments[0]}")

    def postOptions(self) -> None:
        """See `usage.Options.postOptions`; read the file, and check the values."""
        try:
            enabled_paths(os.environ)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None
        self.read_config()
        self.make_log_choice(PROCESS_CHOICE)
        for option, default in (("state", _STATE), ("location", "")):
            if self[option] is None:
                self[option] = default
        for option in ("containers", "images", "state", "switch", "assume"):
            if self[option] == "":
                raise usage.UsageError(f"--{option}: must not be empty")
        if self["demo"]:
            self._check_demo()
            return
        if not self["listen"]:
            self.opt_listen(f"{DEFAULT_DIALECT.name}=")
        if self["switch"] is not None:
            self["listen"] = [at.with_switch(self["switch"]) for at in self["listen"]]
        if self["assume"] is not None and not is_container_name(self["assume"]):
            raise usage.UsageError(
                f"--assume: {self['assume']} is not a container name"
            )
        self._check_privileges()
        self._check_endpoints()
        self.check_admin(self.addresses)
        self._check_images()
        for dialect in self._with_state():
            self._check_state(dialect)

    def _check_demo(self) -> None:
        for option in ("listen", "admin", "containers", "images", "switch", "assume"):
            if self[option]:
                raise usage.UsageError(f"--demo: use it without --{option}")

    def _check_privileges(self) -> None:
        if self["assume"] is None:
            try:
                check_may_identify()
            except PermissionError as error:
                raise usage.UsageError(str(error)) from None

    def _check_endpoints(self) -> None:
        self.addresses.clear()
        for listen in self["listen"]:
            address = self._check_endpoint(listen)
            if address in self.addresses:
                raise usage.UsageError(f"--listen: {listen.endpoint} is given twice")
            self.addresses.add(address)
            with _naming("--containers"):
                self.containers(listen.dialect).check()

    def _check_endpoint(self, listen: ListenOption) -> str:
        with _naming(f"--listen: {listen.endpoint}"):
            return listen.check(identified=self["assume"] is None)

    def _check_images(self) -> None:
        images = self["images"]
        if images and not any(listen.dialect.images for listen in self["listen"]):
            raise usage.UsageError(f"--images: {images}: no dialect has images")
        if images is not None and self.lxd_socket() is None:
            if images.startswith("lxd:"):
                raise usage.UsageError(
                    f"--images: {images}: must have the form lxd:unix:SOCKET"
                )
            with _naming("--images"):
                DirectorySource(Path(images)).check()

    def _check_state(self, dialect: Dialect) -> None:
        with self._state_errors():
            self.state().check(self.containers(dialect), dialect)

    def _with_state(self) -> Iterator[Dialect]:
        for dialect in (at.dialect for at in self["listen"]):
            if has_state(dialect) or self.containers(dialect).is_remote:
                yield dialect

    def check_privileges(self) -> None:
        """Check that guests can still be identified, after ``twistd --uid``.

        :raises SystemExit: if they cannot.
        """
        with self.exiting_on_error():
            self._check_privileges()

    def acquire_locks(self) -> None:
        """Lock the state of all containers that are served, until this process ends.

        :raises SystemExit: if another process has locked it.
        """
        sources = {one.key: one for one in map(self.containers, self._with_state())}
        for source in sources.values():
            with self.exiting_on_error(), self._state_errors():
                self.state().acquire_lock(source)

    @contextmanager
    def _state_errors(self) -> Iterator[None]:
        try:
            yield
        except StateError as error:
            raise usage.UsageError(f"--state: {self['state']}: {error}") from None

    def state(self) -> StateDirectory:
        """Return the state directory."""
        return StateDirectory(Path(self["state"]))

    def containers(self, dialect: Dialect) -> IContainerSource:
        """Return where the containers come from that ``dialect`` serves.

        :raises UsageError: if ``--containers`` has a mistake.
        """
        with _naming("--containers"):
            return parse_source(str(self["containers"] or dialect.containers))

    def lxd_socket(self) -> str | None:
        """Return the path of the LXD socket that ``--images`` names, or ``None``."""
        match = _LXD_IMAGES.fullmatch(self["images"] or "")
        return None if match is None else os.path.abspath(match[1])


@contextmanager
def _naming(option: str) -> Iterator[None]:
    """Convert a `ValueError` of the block to a `UsageError` that names an option."""
    try:
        yield
    except ValueError as error:
        raise usage.UsageError(f"{option}: {error}") from None
