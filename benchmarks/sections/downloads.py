"""``images``: the speed of a download, and the answers to others meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.context import Context, Running, start_devlxd, write_document
from benchmarks.figures import Measured, Row, compare
from benchmarks.places import Client, Place, results
from benchmarks.servers import TARGET, Server
from benchmarks.serving import HERE, in_turns, percentile
from devlxd.fast_paths import FastPath
from tests.integration.processes import start, wait_until
from tests.integration.test_images import MIB, make_file, path_of, sha256

ROUNDS = 5

SIZE, QUICK_SIZE = 1024 * MIB, 256 * MIB

#: How many requests others send during a download, and for how many seconds at least
#: the download goes on: longer than the requests take.
REQUESTS, SECONDS = 400, 1.5

#: The goals: of the speed, beside nginx, and of others' response times, beside a devlxd
#: that reads and writes images in pieces.
OF_SPEED, OF_OTHERS = 0.8, 1.2

NGINX = "nginx"

PIECES = "in pieces"

TEXT = """\
A client in one container downloads the same file from devlxd and from nginx, which serves it with ``sendfile`` at a UNIX
socket, and reads it in pieces of 1 MiB. Then it downloads the file again and again, while another container sends a
request to devlxd each millisecond. The responses during a download from devlxd are compared with those during one from
nginx, when devlxd does nothing else, and with those of a devlxd that reads images and writes them in pieces
(``DEVLXD_SLOW=files``).
"""

_CONFIG = """\
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/log; user root;
events {{}}
http {{
    access_log off; sendfile on;
    server {{ listen unix:{home}/sock; root {images}; }}
}}
"""


def measure(context: Context) -> Measured:
    """Measure devlxd and nginx in turn."""
    if shutil.which("nginx") is None:
        problem = "needs nginx (Debian: apt-get install nginx-light)"
        return Measured("images", "Images", TEXT, (), [problem])
    with ExitStack() as started:
        rows = _measure(context, started)
    return Measured("images", "Images", TEXT, rows)


def _measure(context: Context, started: ExitStack) -> list[Row]:
    images = context.directory("images")
    images.chmod(0o755)
    fingerprint = _make_image(images, QUICK_SIZE if context.is_quick else SIZE)
    started.callback(shutil.rmtree, images)
    downloader, other = (context.place(word, started) for word in ("get", "ask"))
    documents = context.directory("documents")
    for place in (downloader, other):
        write_document(documents, place.name)
        _permit_images(documents / f"{place.name}.json")
    servers, targets = {}, {}
    for name, checkout in context.checkouts.items():
        running = start_devlxd(
            started,
            checkout,
            context.directory("sockets"),
            documents,
            f"--images={images}",
        )
        servers[name] = Server(running.socket, downloader, running)
        targets[running.socket] = path_of(fingerprint)
    first = next(iter(servers.values()))
    running = start_devlxd(
        started,
        HERE,
        context.directory("sockets"),
        documents,
        f"--images={images}",
        slow=FastPath.FILES.value,
    )
    servers[PIECES] = Server(running.socket, downloader, running)
    targets[running.socket] = path_of(fingerprint)
    running = _start_nginx(started, context.directory(NGINX), images)
    servers[NGINX] = Server(running.socket, downloader, running)
    targets[running.socket] = f"/{fingerprint}"
    rounds = context.rounds(ROUNDS)
    speeds = in_turns(servers, rounds, lambda server: _speed(server, targets))
    rows = compare(
        "one download",
        "MiB/s",
        {name: [speed for speed, _ in all_] for name, all_ in speeds.items()},
        {NGINX: OF_SPEED},
    )
    rows += compare(
        "one download, processor time",
        "ms/GiB",
        {name: [used for _, used in all_] for name, all_ in speeds.items()},
        {},
        is_less_better=True,
    )

    def others(server: Server) -> list[float]:
        asked = first if server.socket == running.socket else server
        return _others(server, targets, asked, other)

    found = in_turns(servers, rounds, others)
    for percent, goals in ((50, {}), (99, {PIECES: OF_OTHERS})):
        times = {
            n: [percentile(one, percent) for one in all_] for n, all_ in found.items()
        }
        what = f"others' response during it, {percent} %"
        rows += compare(what, "ms", times, goals, is_less_better=True)
    return rows


def _make_image(images: Path, size: int) -> str:
    """Create a public image of one file, as devlxd stores it."""
    file = make_file(images / "new", size)
    fingerprint = sha256(file)
    file.rename(images / fingerprint)
    (images / f"{fingerprint}.yaml").write_text("public: true\n")
    return fingerprint


def _permit_images(document: Path) -> None:
    text = document.read_text()
    key = '"security.devlxd.images": "true", '
    document.write_text(text.replace('"config": {', f'"config": {{{key}', 1))


def _start_nginx(started: ExitStack, home: Path, images: Path) -> Running:
    (home / "conf").write_text(_CONFIG.format(home=home, images=images))
    process = start("nginx", "-c", str(home / "conf"))
    started.callback(process.wait)
    started.callback(process.terminate)
    wait_until(lambda: os.path.exists(home / "sock"), "nginx listens")
    # The process that serves is a child of the one that was started.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    worker = wait_until(lambda: children.read_text().split(), "nginx has a worker")
    return Running(str(home / "sock"), lambda: int(worker[0]))


def _speed(server: Server, targets: Mapping[str, str]) -> tuple[float, float]:
    """Return the speed in MiB/s, and the server's milliseconds for each GiB."""
    used = server.cpu()
    arguments = {"path": server.socket, "target": targets[server.socket]}
    speed, received = results(server.place, "download", seconds=0, **arguments)
    used = server.cpu() - used
    return speed / MIB, 1000 * used * 1024 * MIB / received


def _others(
    server: Server, targets: Mapping[str, str], asked: Server, other: Place
) -> list[float]:
    """Return the response times of others during a download, in milliseconds."""
    arguments = {"path": server.socket, "target": targets[server.socket]}
    with Client(server.place, "download", seconds=SECONDS, **arguments) as client:
        client.receive()
        client.go_on()
        times: list[float] = results(
            other, "questions", path=asked.socket, target=TARGET, count=REQUESTS
        )
        client.receive()
    return times
