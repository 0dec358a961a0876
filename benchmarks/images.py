"""Measure the speed of image downloads, and their cost for others.

* One guest downloads an image of 1 GiB from devlxd, and from nginx, which serves
  the same file at a UNIX socket.
* Another guest requests ``/1.0/config`` continuously: the response times while
  devlxd is idle, and during a download.
* 20 guests download simultaneously, and then stop reading: the memory and the
  open files of the process.

All guests are LXC containers. Needs root and ``apt-get install lxc curl
nginx-light``. Run it in a checkout with ``python -m benchmarks.images``; with
``--checkout DIR`` the devlxd of another checkout is measured in turn with this
one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.serving import (
    CheckoutServer,
    checkouts,
    in_turns,
    make_parser,
    open_files,
    print_row,
)
from tests.integration.guest_programs import Barrier, python
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.test_images import MIB, STALL, make_file, path_of, sha256

ROUNDS = 5

QUICK_ROUNDS = 2

GUESTS = 20

SIZE = 1024 * MIB

QUICK_SIZE = 256 * MIB

REQUESTS = 3000

#: Sends requests one after the other, and prints the median and the 99th
#: percentile of the response times, in milliseconds.
SEND_REQUESTS = """
    import json, statistics, time
    connection = connect()
    request = b"GET /1.0/config HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n"
    times = []
    for _ in range(int(sys.argv[1])):
        start = time.perf_counter()
        connection.sendall(request)
        response = connection.recv(4096)
        times.append((time.perf_counter() - start) * 1000)
        assert response.endswith(b"[]\\n"), response
        time.sleep(0.001)
    hundredths = statistics.quantiles(times, n=100)
    print(json.dumps([hundredths[49], hundredths[98]]))
"""

_NGINX = """\
daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/nginx.log;
user root;
events {{}}
http {{
    access_log off; sendfile on;
    server {{ listen unix:{home}/nginx/sock; root {home}/images; }}
}}
"""


@frozen
class Source:
    """A server of one image.

    :ivar socket: the path of its socket in the guests.
    :ivar path: the path of the image in the URL.
    """

    socket: str
    path: str

    def download(self) -> list[str]:
        """Return the command that downloads the image and prints bytes per second."""
        options = ["-sSf", "-o", "/dev/null", "-w", "%{speed_download}"]
        url = f"http://lxd{self.path}"
        return ["curl", *options, "--unix-socket", self.socket, url]


@contextmanager
def nginx(home: Path) -> Iterator[None]:
    """Serve the directory of images with nginx."""
    (home / "nginx.conf").write_text(_NGINX.format(home=home))
    process = subprocess.Popen(["nginx", "-c", str(home / "nginx.conf")])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def guests(home: Path, servers: Sequence[str]) -> Iterator[list[LXCContainer]]:
    """Run the guests; each finds the socket of each server in ``/dev/SERVER``."""
    binds = {home / name: f"dev/{name}" for name in servers}
    binds[home / "shared"] = "run/shared"
    with ExitStack() as started:
        found = []
        for number in range(GUESTS):
            guest = LXCContainer(unique_name(f"b{number}"), home, 100_000, binds)
            document = {"config": {"security.devlxd.images": "true"}}
            path = home / "documents" / f"{guest.name}.json"
            path.write_text(json.dumps(document))
            guest.start()
            started.callback(guest.stop)
            found.append(guest)
        yield found


def make_image(images: Path, size: int) -> str:
    """Create a public image of one file, as devlxd stores it.

    :return: its fingerprint.
    """
    file = make_file(images / "new", size)
    fingerprint = sha256(file)
    file.rename(images / fingerprint)
    (images / f"{fingerprint}.yaml").write_text("public: true\n")
    return fingerprint


def measure_speed(
    guest: LXCContainer, sources: Mapping[str, Source], rounds: int
) -> None:
    """Measure and print the speed of one download."""
    speeds = in_turns(
        sources, rounds, lambda source: float(guest.run(*source.download())) / MIB
    )
    print_row("one download", speeds, "MiB/s")


def measure_responses(
    client: LXCContainer,
    downloader: LXCContainer,
    sources: Mapping[str, Source],
    rounds: int,
) -> None:
    """Measure and print response times, without and with a download."""

    def idle(source: Source) -> list[float]:
        command = python(SEND_REQUESTS, str(REQUESTS), socket=source.socket)
        times: list[float] = json.loads(client.run(*command))
        return times

    def busy(source: Source) -> list[float]:
        download = " ".join(source.download())
        endless = f"rm -f /tmp/stop; until test -e /tmp/stop; do {download}; done"
        with ThreadPoolExecutor() as pool:
            downloading = pool.submit(downloader.run, "sh", "-c", endless)
            # Until the download has started.
            time.sleep(0.2)
            times = idle(source)
            downloader.run("touch", "/tmp/stop")
            downloading.result()
        return times

    for what, measure in (("idle", idle), ("during a download", busy)):
        found = in_turns(sources, rounds, measure)
        for number, percent in enumerate((50, 99)):
            times = {name: [t[number] for t in all_] for name, all_ in found.items()}
            print_row(f"response, {what}", times, f"ms p{percent}", digits=2)


def measure_memory(
    devlxd: CheckoutServer, guests: Sequence[LXCContainer], source: Source, shared: Path
) -> dict[str, tuple[float, float]]:
    """Return the memory in MiB and the number of open files, at each step."""
    found = {}

    def record(what: str) -> None:
        found[what] = devlxd.memory() / 1024, float(open_files(devlxd.pid))

    record("before")
    with ThreadPoolExecutor(GUESTS) as pool:
        running = [pool.submit(guest.run, *source.download()) for guest in guests]
        for second in range(1, 6):
            time.sleep(1)
            record(f"20 download, {second} s")
        for one in running:
            one.result()
        with Barrier(shared) as barrier:
            stalled = []
            for number, guest in enumerate(guests):
                words = (source.path, "1", str(number))
                program = python(STALL, *words, socket=source.socket)
                stalled.append(pool.submit(guest.run, *program))
            hosts = [barrier.wait_for(b"%d" % n)[0] for n in range(GUESTS)]
            record("20 do not read")
            for host in hosts:
                host.sendall(b"!")
            for one in stalled:
                one.result()
    record("after")
    return found


def show_memory(found: Mapping[str, Mapping[str, tuple[float, float]]]) -> None:
    """Print the memory and the open files of each server side by side."""
    rows: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for name, steps in found.items():
        for what, values in steps.items():
            rows[what][name] = values
    for number, unit in enumerate(("MiB resident", "open files")):
        for what, row in rows.items():
            print_row(what, {name: [pair[number]] for name, pair in row.items()}, unit)


def measure(home: Path, options: Namespace) -> None:
    """Start the servers and the guests, measure, and print."""
    rounds, size = (QUICK_ROUNDS, QUICK_SIZE) if options.quick else (ROUNDS, SIZE)
    fingerprint = make_image(home / "images", size)
    with ExitStack() as started:
        servers = {}
        sources = {}
        for name, checkout in checkouts(options.checkout).items():
            servers[name] = CheckoutServer(
                checkout,
                home / name,
                f"--containers={home}/documents",
                f"--images={home}/images",
            )
            started.callback(servers[name].stop)
            sources[name] = Source(f"/dev/{name}/sock", path_of(fingerprint))
        started.enter_context(nginx(home))
        all_sources = {**sources, "nginx": Source("/dev/nginx/sock", f"/{fingerprint}")}
        found = started.enter_context(guests(home, list(all_sources)))
        measure_speed(found[0], all_sources, rounds)
        measure_responses(found[0], found[1], sources, rounds)
        show_memory(
            {
                name: measure_memory(servers[name], found, source, home / "shared")
                for name, source in sources.items()
            }
        )


def main() -> None:
    """Measure, and print the results."""
    options = make_parser(__doc__).parse_args()
    problem = missing_requirement()
    if problem or shutil.which("nginx") is None:
        raise SystemExit(problem or "needs nginx (Debian: nginx-light)")
    home = make_home()
    names = [*checkouts(options.checkout), "nginx", "documents", "images", "shared"]
    for name in names:
        (home / name).mkdir()
    (home / "shared").chmod(0o777)
    try:
        measure(home, options)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
