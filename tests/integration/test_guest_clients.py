"""Tests that three clients get the same answers from devlxd, LXD and Incus."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.integration.client_calls import Result
from tests.integration.client_cases import (
    CONFIG,
    DEVICES,
    GONE,
    LISTED_NIC,
    NIC,
    OFF,
    REAL_INCUS,
    REAL_LXD,
    ROOT,
    USER,
    Row,
    check,
    rows,
    table_of,
)
from tests.integration.incus import Incus, missing_incus
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.nested import CHECKOUT, program_paths
from tests.integration.processes import ProcessTestCase, run, wait_until
from tests.integration.servers import DevLXD
from tests.integration.test_dialects import SOCKETS
from tests.integration.test_images import add_image, sha256

#: Runs a command as a user who is not root.
AS_USER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]

#: The id that meta-data has.
INSTANCE_ID = "11111111-2222-3333-4444-555555555555"

#: The results of all rows by server, for the table that the tests print.
_columns: dict[str, list[Sequence[Result]]] = {}


class ClientTestCase(ProcessTestCase):
    """A base class for tests of the table.

    :ivar home: a temporary directory.
    :ivar binds: the bind mounts of the container.
    :ivar name: the name of the container.
    :ivar off_key: the key that switches the API off.
    """

    name: str
    off_key = "security.devlxd"

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.binds = bind_programs(self, self.home)

    def execute(self, *command: str) -> str:
        """Run a command in the container."""
        raise NotImplementedError

    def set_key(self, key: str, value: str) -> None:
        """Set a key of the container's config."""
        raise NotImplementedError

    def write_images(self) -> tuple[Path, tuple[Path, Path]]:
        """Write a unified and a split image; return their files."""
        files = self.home / "files"
        (files / "rootfs").mkdir(parents=True)
        (files / "rootfs" / "data").write_bytes(b"data" * 1000)
        metadata = "architecture: x86_64\ncreation_date: 1700000000\n"
        (files / "metadata.yaml").write_text(metadata)
        packed = []
        for name, entries in (
            ("unified.tar.gz", ("metadata.yaml", "rootfs")),
            ("meta.tar.gz", ("metadata.yaml",)),
            ("root.tar.gz", ("rootfs",)),
        ):
            packed.append(self.home / name)
            run("tar", "-C", str(files), "-czf", str(packed[-1]), *entries)
        unified, meta, root = packed
        return unified, (meta, root)

    def check_table(
        self, server: str, images: tuple[str, str], lasting: str, found_at: str
    ) -> None:
        """Make all calls in the container, and compare the results with the table.

        :param images: the fingerprints of the images of `write_images`.
        :param lasting: the socket that is there when the API is switched off.
        :param found_at: the socket that the clients find.
        """
        unified, meta, root = (
            sha256(self.home / f"{name}.tar.gz") for name in ("unified", "meta", "root")
        )
        table = rows(
            {"": images[0], "image": unified},
            {"": images[1], "image": meta, "image.rootfs": root},
        )
        # For temporary files of the other user.
        self.execute("chmod", "1777", "/tmp")
        results = self.answers("", [row for row in table if row.where == ROOT])
        asking_user = [row for row in table if row.where == USER]
        results += self.answers("", asking_user, *AS_USER)
        self.switch_off(lasting)
        results += self.answers(lasting, [row for row in table if row.where == OFF])
        gone = [row for row in table if row.where == GONE]
        results += self.answers("/dev/gone/sock", gone)
        _columns[server] = results
        sys.stdout.write(f"\n{table_of(table, _columns)}\n")
        found: list[str] = []
        for row, answers in zip(table, results, strict=True):
            found += check(row, server, self.name, found_at, answers)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def switch_off(self, socket: str) -> None:
        """Switch the API off for the container, and wait until that is so."""
        self.set_key(self.off_key, "false")
        url = "http://guest/1.0/config/user.a"
        curl = ["curl", "-s", "--unix-socket", socket, "-o", "/dev/null"]
        command = [*curl, "-w", "%{http_code}", url]
        wait_until(lambda: self.execute(*command) == "403", "it is switched off")

    def answers(
        self, socket: str, table: Sequence[Row], *prefix: str
    ) -> list[Sequence[Result]]:
        """Make calls in the container while a key changes; return the results."""
        calls = json.dumps([row.call() for row in table])
        environment = ["env", f"PYTHONPATH={CHECKOUT}", "PYTHONDONTWRITEBYTECODE=1"]
        program = [sys.executable, "-m", "tests.integration.client_calls"]
        events = [row.words for row in table].index("events")
        printed: list[Sequence[Result]] = []
        for part in (table[:events], table[events : events + 1], table[events + 1 :]):
            calls = json.dumps([row.call() for row in part])
            command = [*prefix, *environment, *program, socket, calls]
            with self.changes(if_any=part[:1] == table[events : events + 1]):
                printed += json.loads(self.execute(*command))
        return printed

    @contextmanager
    def changes(self, if_any: bool) -> Iterator[None]:
        """Change ``user.tick`` again and again while the context is entered."""
        if not if_any:
            yield
            return
        ended = threading.Event()
        with ThreadPoolExecutor() as pool:
            ticking = pool.submit(self._tick, ended)
            try:
                yield
            finally:
                ended.set()
            ticking.result()

    def _tick(self, ended: threading.Event) -> None:
        for number in count(1):
            if ended.wait(0.1):
                return
            self.set_key("user.tick", str(number))


class DevLXDTests(ClientTestCase):
    """devlxd in each dialect."""

    skip = missing_requirement()

    def serve(self, dialect: str, switch: str = "security.devlxd") -> None:
        """Start devlxd and a container, and check the table.

        :param switch: the key that switches the API off in this dialect.
        """
        self.off_key = switch
        for name in ("documents", "images"):
            (self.home / name).mkdir()
        self.name = unique_name(dialect)
        self.devices = dict(DEVICES)
        if dialect == "lxd":
            self.devices["eth0"] = LISTED_NIC
        identity = {"volatile.cloud-init.instance-id": INSTANCE_ID}
        allowed = {f"{switch}.images": "true"}
        self.config = {**CONFIG, **identity, **allowed}
        self.write_document()
        unified, split = self.write_images()
        images = self.home / "images"
        fingerprints = (add_image(images, unified), add_image(images, *split))
        options = [] if dialect == "apollo" else [f"--images={images}"]
        devlxd = DevLXD(
            f"--containers={self.home}/documents",
            f"--listen={dialect}={self.home}/sockets",
            *options,
        )
        self.addCleanup(devlxd.stop)
        directory = Path(SOCKETS[dialect]).parent.relative_to("/")
        binds = {self.home / "sockets": str(directory), **self.binds}
        self.container = LXCContainer(self.name, self.home, 100_000, binds)
        self.container.start()
        self.addCleanup(self.container.stop)
        socket = SOCKETS[dialect]
        self.check_table(f"devlxd {dialect}", fingerprints, socket, socket)

    def execute(self, *command: str) -> str:
        """See `ClientTestCase.execute`."""
        return self.container.run(*command)

    def set_key(self, key: str, value: str) -> None:
        """See `ClientTestCase.set_key`."""
        self.config[key] = value
        self.write_document()

    def write_document(self) -> None:
        """Replace the document of the container."""
        path = self.home / "documents" / f"{self.name}.json"
        new = path.with_name(f".{self.name}.new")
        new.write_text(json.dumps({"config": self.config, "devices": self.devices}))
        new.rename(path)

    def test_lxd6(self) -> None:
        """The clients agree in the dialect lxd6."""
        self.serve("lxd6")

    def test_lxd(self) -> None:
        """The clients agree in the dialect lxd."""
        self.serve("lxd")

    def test_apollo(self) -> None:
        """The clients agree in the dialect apollo."""
        self.serve("apollo", "security.devapollo")

    def test_incus(self) -> None:
        """The clients agree in the dialect incus."""
        self.serve("incus", "security.guestapi")


def nic_options() -> list[str]:
    """Return the NIC of the table as arguments of ``lxc config device add``."""
    return ["nic", *(f"{key}={value}" for key, value in NIC.items() if key != "type")]


class RealTestCase(ClientTestCase):
    """A base class for real servers."""

    def setUp(self) -> None:
        super().setUp()
        init = self.home / "init"
        init.mkdir()
        init.chmod(0o777)
        (init / "init.py").write_text(INIT)
        self.binds[init] = "run/init"

    def manage(self, *arguments: str) -> str:
        """Run the server's client."""
        raise NotImplementedError

    def execute(self, *command: str) -> str:
        """See `ClientTestCase.execute`."""
        container = LXCContainer(self.name, self.home)
        return container.run_at(self.home / "init", *command)

    def set_key(self, key: str, value: str) -> None:
        """See `ClientTestCase.set_key`."""
        self.manage("config", "set", self.name, f"{key}={value}")

    def configure(self, allowed: str) -> None:
        """Give the started container its config and devices.

        :param allowed: the key that allows images.
        """
        pairs = [f"{key}={value}" for key, value in {**CONFIG, allowed: "true"}.items()]
        self.manage("config", "set", self.name, *pairs)
        device = ["config", "device", "add", self.name, "eth0"]
        self.manage(*device, *nic_options())
        self.manage("exec", self.name, "--", "sh", "-c", UNTIL_READY)


class RealLXDTests(RealTestCase):
    """A real LXD."""

    skip = missing_lxd()

    def manage(self, *arguments: str) -> str:
        """See `RealTestCase.manage`."""
        return self.lxd.lxc(*arguments)

    def test_clients(self) -> None:
        """The clients agree, and LXD answers what the table says."""
        self.lxd = LXD(self.home)
        self.lxd.start()
        self.addCleanup(self.lxd.stop)
        unified, split = self.write_images()
        images = (self.lxd.add_image(unified), self.lxd.add_image(*split))
        self.name = unique_name("lxd")
        api = self.lxd.containers.parent / "devlxd"
        self.lxd.start_container(self.name, {**self.binds, api: "dev/lasting"})
        self.configure("security.devlxd.images")
        self.check_table(REAL_LXD, images, "/dev/lasting/sock", "/dev/lxd/sock")


class RealIncusTests(RealTestCase):
    """A real Incus."""

    skip = missing_incus()
    off_key = "security.guestapi"

    def manage(self, *arguments: str) -> str:
        """See `RealTestCase.manage`."""
        return self.incus.incus(*arguments)

    def add_image(self, *files: Path) -> str:
        """Import a public image; return its fingerprint."""
        self.manage("image", "import", *map(str, files), "--public")
        return image_fingerprint(*files)

    def test_clients(self) -> None:
        """The clients agree, and Incus answers what the table says."""
        self.incus = Incus(self.home)
        self.incus.start()
        self.addCleanup(self.incus.stop)
        unified, split = self.write_images()
        images = (self.add_image(unified), self.add_image(*split))
        self.name = unique_name("incus")
        binds = {**self.binds, self.incus.guest_api: "dev/lasting"}
        self.incus.start_container(self.name, binds)
        self.configure("security.guestapi.images")
        self.check_table(REAL_INCUS, images, "/dev/lasting/sock", "/dev/incus/sock")


def image_fingerprint(*files: Path) -> str:
    """Return the fingerprint of an image: the SHA-256 of its files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def bind_programs(test: ProcessTestCase, home: Path) -> dict[Path, str]:
    """Return the binds of this Python and devlxd for containers.

    The root of a container may not enter the parents of some of the directories:
    they are mounted at places where it may.
    """
    binds = {}
    for number, path in enumerate(program_paths()):
        at = home / f"programs{number}"
        at.mkdir()
        # Read-only: nothing that removes the home may remove the programs.
        run("mount", "--bind", "-o", "ro", str(path), str(at))
        test.addCleanup(at.rmdir)
        test.addCleanup(run, "umount", "-l", str(at))
        binds[at] = str(path.relative_to("/"))
    return binds
