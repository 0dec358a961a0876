"""Tests of image downloads in real containers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.guest_programs import Barrier, python
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import ProcessTestCase, run
from tests.integration.servers import DevLXD

MIB = 1024 * 1024

#: The ``devlxd`` command that belongs to this Python.
COMMAND = str(Path(sys.executable).with_name("devlxd"))

#: Downloads a split image, and parses it with the standard library.
PARSE = """
    import email, hashlib, json
    from http.client import HTTPConnection
    http = HTTPConnection("lxd")
    http.sock = socket.socket(socket.AF_UNIX)
    http.sock.connect(sys.argv[1])
    http.request("GET", sys.argv[2])
    response = http.getresponse()
    assert response.status == 200, response.status
    head = f"Content-Type: {response.headers['Content-Type']}\\r\\n\\r\\n"
    message = email.message_from_bytes(head.encode() + response.read())
    print(json.dumps([
        [
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            hashlib.sha256(part.get_payload(decode=True)).hexdigest(),
        ]
        for part in message.get_payload()
    ]))
"""

#: Starts some downloads, and does not read them until the test continues it.
STALL = """
    path, downloads, number = sys.argv[1:]
    connections = [connect() for _ in range(int(downloads))]
    for connection in connections:
        connection.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
        assert connection.recv(12) == b"HTTP/1.0 200", "no image"
    host = arrive(number.encode())
    host.recv(1)
    for connection in connections:
        size = 12
        while data := connection.recv(2 ** 20):
            size += len(data)
        print(size)
"""


def path_of(fingerprint: str) -> str:
    """Return the path of an image in the API."""
    return f"/1.0/images/{fingerprint}/export"


def curl(socket: str, fingerprint: str, *options: str) -> str:
    """Return the shell command that downloads an image."""
    url = f"http://lxd{path_of(fingerprint)}"
    return " ".join(["curl -sS --unix-socket", socket, *options, url])


def make_file(path: Path, size: int) -> Path:
    """Create a file of random bytes, which cannot be compressed.

    :param size: less than a MiB, or a number of whole MiB.
    """
    with path.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size)))
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while data := file.read(MIB):
            digest.update(data)
    return digest.hexdigest()


def add_image(directory: Path, *files: Path) -> str:
    """Add a public image with ``devlxd image add``; return its fingerprint."""
    command = [COMMAND, "image", "add", *map(str, files), "--public"]
    return run(*command, f"--images={directory}").strip()


class DirectoryTests(ProcessTestCase):
    """Images in a directory."""

    skip = missing_requirement()

    #: The fast paths that are switched off.
    slow = ""

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("documents", "lxd", "images", "shared"):
            (self.home / name).mkdir()
        (self.home / "shared").chmod(0o777)
        self.images = self.home / "images"
        self.devlxd = DevLXD(
            f"--containers={self.home}/documents",
            f"--listen={self.home}/lxd",
            f"--images={self.images}",
            slow=self.slow,
        )
        self.addCleanup(self.devlxd.stop)

    def start(self, count: int = 1, allowed: str = "true") -> list[LXCContainer]:
        """Start containers.

        :param allowed: the value of their key ``security.devlxd.images``.
        """
        binds = {self.home / "lxd": "dev/lxd", self.home / "shared": "run/shared"}
        containers = [
            LXCContainer(unique_name(f"i{n}"), self.home, 100_000, binds)
            for n in range(count)
        ]
        for container in containers:
            document = {"config": {"security.devlxd.images": allowed}}
            path = self.home / "documents" / f"{container.name}.json"
            path.write_text(json.dumps(document))
            container.start()
            self.addCleanup(container.stop)
        return containers

    def check_curl(self, guest: LXCContainer, fingerprint: str, size: int) -> str:
        """Download an image, once whole and once in two parts; return its SHA-256."""
        export = curl("/dev/lxd/sock", fingerprint)
        whole = guest.run("sh", "-c", f"{export} | sha256sum").split()[0]
        slow = curl("/dev/lxd/sock", fingerprint, "--limit-rate 5M -o /tmp/part")
        some = "until test -s /tmp/part; do sleep 0.05; done"
        interrupted = f"{slow} & {some}; kill -9 $!; wait; stat -c %s /tmp/part"
        got = int(guest.run("sh", "-c", interrupted).split()[-1])
        self.assertTrue(0 < got < size, got)
        rest = curl("/dev/lxd/sock", fingerprint, "-C - -o /tmp/part -w '%{http_code}'")
        self.assertEqual(guest.run("sh", "-c", rest), "206")
        resumed = guest.run("sh", "-c", "sha256sum /tmp/part; rm /tmp/part")
        self.assertEqual(resumed.split()[0], whole)
        return whole

    def test_single(self) -> None:
        """An image of 1 GiB arrives complete, also after an interruption."""
        file = make_file(self.home / "image", 1024 * MIB)
        fingerprint = add_image(self.images, file)
        self.assertEqual(fingerprint, sha256(file))
        file.unlink()
        (guest,) = self.start()
        got = self.check_curl(guest, fingerprint, 1024 * MIB)
        self.assertEqual(got, fingerprint)

    def test_split(self) -> None:
        """A split image arrives complete, and the standard library can parse it."""
        meta = make_file(self.home / "meta", MIB)
        root = make_file(self.home / "root", 100 * MIB)
        with root.open("r+b") as file:
            file.write(b"hsqs")
        fingerprint = add_image(self.images, meta, root)
        (guest,) = self.start()
        self.check_curl(guest, fingerprint, 101 * MIB)
        command = python(PARSE, "/dev/lxd/sock", path_of(fingerprint))
        kind = "application/octet-stream"
        self.assertEqual(
            json.loads(guest.run(*command)),
            [
                ["metadata", f"meta-{fingerprint}", kind, sha256(meta)],
                ["rootfs", f"{fingerprint}.squashfs", kind, sha256(root)],
            ],
        )

    def test_refused(self) -> None:
        """A container without the permission, and a private image, are refused."""
        fingerprint = add_image(self.images, make_file(self.home / "image", MIB))
        code = curl("/dev/lxd/sock", fingerprint, "-w ' %{http_code}'")
        (guest,) = self.start(allowed="false")
        self.assertEqual(guest.run("sh", "-c", code), "not authorized\n 403")
        (guest,) = self.start()
        (self.images / f"{fingerprint}.yaml").unlink()
        self.assertEqual(guest.run("sh", "-c", code), "not found\n 404")

    def test_replaced(self) -> None:
        """An image that is replaced or removed during a download is still complete."""
        fingerprint = add_image(self.images, make_file(self.home / "image", 50 * MIB))
        image = self.images / fingerprint
        (guest,) = self.start()
        for size, is_replaced in ((50 * MIB, True), (MIB, False)):
            with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
                command = python(STALL, path_of(fingerprint), "1", "0")
                downloading = pool.submit(guest.run, *command)
                host, _ = barrier.wait_for(b"0")
                if is_replaced:
                    make_file(self.home / "other", MIB).replace(image)
                else:
                    image.unlink()
                host.sendall(b"!")
                got = int(downloading.result())
            # Plus the head of the response.
            self.assertTrue(size < got < size + 1000, got)

    def test_changed(self) -> None:
        """An image that is written to during a download is not received completely."""
        size = 50 * MIB
        fingerprint = add_image(self.images, make_file(self.home / "image", size))
        (guest,) = self.start()
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            command = python(STALL, path_of(fingerprint), "1", "0")
            downloading = pool.submit(guest.run, *command)
            host, _ = barrier.wait_for(b"0")
            with (self.images / fingerprint).open("r+b") as file:
                file.write(b"changed")
            host.sendall(b"!")
            self.assertLess(int(downloading.result()), size)
        self.devlxd.wait_for("changed while it was read")

    def test_stalled(self) -> None:
        """A download that is not read costs less than 512 KiB, and two open files."""
        fingerprint = add_image(self.images, make_file(self.home / "image", 50 * MIB))
        guests = self.start(5)
        for guest in guests:
            guest.run("sh", "-c", curl("/dev/lxd/sock", fingerprint, "-o /dev/null"))
        before = (self.devlxd.memory(), self.devlxd.open_files())
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            downloads = []
            for number, guest in enumerate(guests):
                words = (path_of(fingerprint), "4", str(number))
                downloads.append(pool.submit(guest.run, *python(STALL, *words)))
            hosts = [barrier.wait_for(b"%d" % n)[0] for n in range(len(guests))]
            opened = self.devlxd.wait_for_downloads(self.images / fingerprint, 20)
            # With a third file for each download it would be 20 more.
            self.assertLess(opened - before[1], 20 * 2 + 10)
            self.assertLess(self.devlxd.memory() - before[0], 20 * 512)
            one_more = curl("/dev/lxd/sock", fingerprint, "-w ' %{http_code}'")
            refused = guests[0].run("sh", "-c", one_more)
            self.assertEqual(refused, "too many downloads\n 429")
            for host in hosts:
                host.sendall(b"!")
            for download in downloads:
                sizes = [int(size) for size in download.result().split()]
                self.assertEqual(len(sizes), 4)
                self.assertGreater(min(sizes), 50 * MIB)
        self.assertLess(self.devlxd.memory() - before[0], 20 * 512)


class SlowDirectoryTests(DirectoryTests):
    """Images in a directory, which are read instead of sent by the kernel."""

    slow = "files"


class RealLXDTests(ProcessTestCase):
    """Images of a real LXD, downloaded from devlxd and from that LXD."""

    skip = missing_lxd()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.image = self.home / "pack"
        for name in ("sockets", "init", "pack"):
            (self.home / name).mkdir()
        (self.home / "init").chmod(0o777)
        (self.home / "init" / "init.py").write_text(INIT)
        self.lxd = LXD(self.home)
        self.lxd.start()
        self.addCleanup(self.lxd.stop)
        self.devlxd = DevLXD(
            f"--containers={self.lxd.containers}",
            f"--listen={self.home}/sockets",
            f"--images=lxd:unix:{self.lxd.socket}",
        )
        self.addCleanup(self.devlxd.stop)
        self.name = unique_name("real")
        binds = {self.home / "sockets": "dev/devlxd", self.home / "init": "run/init"}
        self.lxd.start_container(self.name, binds)
        self.container = LXCContainer(self.name, self.home)
        self.lxd.lxc("exec", self.name, "--", "sh", "-c", UNTIL_READY)
        self.lxd.lxc("config", "set", self.name, "security.devlxd.images=true")

    def run_in_guest(self, *command: str) -> str:
        """Run a command in the container."""
        return self.container.run_at(self.home / "init", *command)

    def shell(self, command: str) -> str:
        """Run a shell command in the container."""
        return self.run_in_guest("sh", "-c", command)

    def pack(self, name: str, *entries: str) -> Path:
        """Pack entries of the image's directory into an archive; return its path."""
        path = self.home / name
        run("tar", "-C", str(self.image), "-caf", str(path), *entries)
        return path

    def make_image(self, size: int) -> None:
        """Create the files of an image for LXD, with ``size`` bytes of data."""
        metadata = "architecture: x86_64\ncreation_date: 1700000000\n"
        (self.image / "metadata.yaml").write_text(metadata)
        (self.image / "rootfs").mkdir()
        make_file(self.image / "rootfs" / "data", size)

    def pack_single(self, size: int) -> Path:
        """Create a unified image, which is one file; return its path."""
        self.make_image(size)
        return self.pack("single.tar", "metadata.yaml", "rootfs")

    def request_from_both(self, fingerprint: str, *options: str) -> Sequence[str]:
        """Request an image from LXD and from devlxd; return both outputs."""
        return [
            self.shell(curl(f"/dev/{name}/sock", fingerprint, *options))
            for name in ("lxd", "devlxd")
        ]

    def test_single(self) -> None:
        """devlxd sends a unified image and its headers as LXD does.

        The exception is Last-Modified: devlxd sends the time of the upload, LXD
        the modification time of its file, which may be a second earlier.
        """
        file = self.pack_single(200 * MIB)
        fingerprint = self.lxd.add_image(file)
        self.assertEqual(fingerprint, sha256(file))
        for name in ("lxd", "devlxd"):
            export = curl(f"/dev/{name}/sock", fingerprint)
            got = self.shell(f"{export} | sha256sum").split()[0]
            self.assertEqual(got, fingerprint, name)
        other = ("Date", "Last-Modified")
        for options in (["-r 5-99"], ["-r -7"], ["-r 1000-"], []):
            heads = self.request_from_both(fingerprint, "-D - -o /dev/null", *options)
            theirs, ours = (
                {line for line in head.splitlines() if line.split(":")[0] not in other}
                for head in heads
            )
            self.assertEqual(theirs - ours, set(), options)
            self.assertEqual(ours - theirs, {f'ETag: "{fingerprint}"'}, options)
        interrupted = curl("/dev/devlxd/sock", fingerprint, "-r 0-99999999 -o /tmp/x")
        rest = curl("/dev/devlxd/sock", fingerprint, "-C - -o /tmp/x")
        got = self.shell(f"{interrupted} && {rest} && sha256sum /tmp/x")
        self.assertEqual(got.split()[0], fingerprint)

    def test_split(self) -> None:
        """devlxd sends both parts of a split image, and their names, as LXD does."""
        self.make_image(20 * MIB)
        files = (
            self.pack("meta.tar.xz", "metadata.yaml"),
            self.pack("root.tar.gz", "rootfs"),
        )
        fingerprint = self.lxd.add_image(*files)
        theirs, ours = (
            json.loads(self.run_in_guest(*python(PARSE, path, path_of(fingerprint))))
            for path in ("/dev/lxd/sock", "/dev/devlxd/sock")
        )
        self.assertEqual(ours, theirs)
        self.assertEqual([part[3] for part in ours], [sha256(file) for file in files])
        head, again = (
            self.shell(curl("/dev/devlxd/sock", fingerprint, options))
            for options in ("-I", "-o /tmp/x -w '%{size_download}'")
        )
        self.assertIn(f"Content-Length: {again}\n", head.replace("\r", ""))

    def test_private(self) -> None:
        """A private image is not found, neither by devlxd nor by LXD."""
        private = self.lxd.lxc("image", "list", "-f", "csv", "-c", "F").strip()
        codes = self.request_from_both(private, "-o /dev/null -w '%{http_code}'")
        self.assertEqual(codes, ["404", "404"])

    def test_stops(self) -> None:
        """When LXD stops, a download is aborted, and the next one is refused."""
        fingerprint = self.lxd.add_image(self.pack_single(100 * MIB))
        slow = curl("/dev/devlxd/sock", fingerprint, "--limit-rate 2M -o /tmp/x")
        with ThreadPoolExecutor() as pool:
            downloading = pool.submit(self.shell, f"rm -f /tmp/x; {slow}; echo $?")
            self.shell("until test -s /tmp/x; do sleep 0.05; done")
            self.lxd.kill()
            # The exit status of curl for a partial file.
            self.assertEqual(downloading.result().split()[-1], "18")
        refused = curl("/dev/devlxd/sock", fingerprint, "-w ' %{http_code}'")
        self.assertEqual(self.shell(refused), "bad gateway\n 502")
        self.lxd.launch()
