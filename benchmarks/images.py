"""How fast images are, beside nginx, and what they cost everybody else.

One guest downloads 1 GiB from devlxd and from nginx, both from the same file
over a UNIX socket, in turns. Another asks for ``/1.0/config`` meanwhile, and
when all is quiet. Then 20 guests download at once, and 20 stop to read, and
the memory of the process is printed. All guests are LXC containers.

Needs root and ``apt-get install lxc curl nginx-light``; run it in a checkout:
``python -m benchmarks.images``.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.serving import HERE, open_files, use
from tests.integration.lxc import (
    Barrier,
    DevLXD,
    LXCContainer,
    make_home,
    missing_requirement,
    python,
    unique_name,
)
from tests.integration.test_images import MIB, STALL, add, make_file, path_of

ROUNDS = 5

GUESTS = 20

SIZE = 1024 * MIB

QUESTIONS = 3000

#: Asks again and again, and prints the median and the 99th percentile of how
#: long an answer takes, in milliseconds.
ASK = """
    import json, statistics, time
    connection = connect()
    question = b"GET /1.0/config HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n"
    times = []
    for _ in range(int(sys.argv[1])):
        start = time.perf_counter()
        connection.sendall(question)
        answer = connection.recv(4096)
        times.append((time.perf_counter() - start) * 1000)
        assert answer.endswith(b"[]\\n"), answer
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


@contextmanager
def nginx(home: Path) -> Iterator[None]:
    """Serve the directory of images with nginx."""
    (home / "nginx").mkdir()
    (home / "nginx.conf").write_text(_NGINX.format(home=home))
    process = subprocess.Popen(["nginx", "-c", str(home / "nginx.conf")])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def guests(home: Path) -> Iterator[list[LXCContainer]]:
    """Start the guests."""
    binds = {
        home / "lxd": "dev/lxd",
        home / "nginx": "dev/nginx",
        home / "shared": "run/shared",
    }
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


def curl(path: str, url: str) -> list[str]:
    """Return the command that downloads, and prints the bytes a second."""
    options = ["-sSf", "-o", "/dev/null", "-w", "%{speed_download}"]
    return ["curl", *options, "--unix-socket", path, f"http://lxd{url}"]


def measure_speed(guest: LXCContainer, fingerprint: str) -> None:
    """Print how fast an image comes, from devlxd and from nginx."""
    urls = {"devlxd": path_of(fingerprint), "nginx": f"/{fingerprint}"}
    sockets = {"devlxd": "/dev/lxd/sock", "nginx": "/dev/nginx/sock"}
    speeds: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(ROUNDS):
        for name, url in urls.items():
            speeds[name].append(float(guest.run(*curl(sockets[name], url))) / MIB)
    for name, found in speeds.items():
        print(f"{name:24} {statistics.median(found):8.0f} MiB/s")


def measure_answers(
    asker: LXCContainer, downloader: LXCContainer, fingerprint: str
) -> None:
    """Print how long answers take, when all is quiet and during a download."""
    ask = python(ASK, str(QUESTIONS))
    command = " ".join(curl("/dev/lxd/sock", path_of(fingerprint)))
    endless = f"until test -e /tmp/stop; do {command}; done"
    quiet = json.loads(asker.run(*ask))
    with ThreadPoolExecutor() as pool:
        downloading = pool.submit(downloader.run, "sh", "-c", endless)
        busy = json.loads(asker.run(*ask))
        downloader.run("touch", "/tmp/stop")
        downloading.result()
    for name, (median, slowest) in (("all is quiet", quiet), ("a download", busy)):
        print(f"{name:24} {median:8.2f} ms p50 {slowest:8.2f} ms p99")


def measure_memory(
    devlxd: DevLXD, guests: list[LXCContainer], fingerprint: str, shared: Path
) -> None:
    """Print the memory of the process: downloads, then guests that do not read."""

    def show(what: str) -> None:
        memory = devlxd.memory() / 1024
        files = open_files(devlxd.pid)
        print(f"{what:24} {memory:8.1f} MiB {files:10} files")

    show("before")
    with ThreadPoolExecutor(GUESTS) as pool:
        download = curl("/dev/lxd/sock", path_of(fingerprint))
        running = [pool.submit(guest.run, *download) for guest in guests]
        for second in range(1, 6):
            time.sleep(1)
            show(f"20 download, {second} s")
        for one in running:
            one.result()
        with Barrier(shared) as barrier:
            stalled = []
            for number, guest in enumerate(guests):
                words = (path_of(fingerprint), "1", str(number))
                stalled.append(pool.submit(guest.run, *python(STALL, *words)))
            hosts = [barrier.wait_for(b"%d" % n)[0] for n in range(GUESTS)]
            show("20 do not read")
            for host in hosts:
                host.sendall(b"!")
            for one in stalled:
                one.result()
    show("after")


def main() -> None:
    """Measure, and print."""
    problem = missing_requirement()
    if problem or shutil.which("nginx") is None:
        raise SystemExit(problem or "needs nginx (Debian: nginx-light)")
    use(HERE)
    home = make_home()
    for name in ("documents", "lxd", "images", "shared"):
        (home / name).mkdir()
    (home / "shared").chmod(0o777)
    file = make_file(home / "image", SIZE)
    fingerprint = add(home / "images", file)
    file.unlink()
    devlxd = DevLXD(
        f"--containers={home}/documents",
        f"--listen={home}/lxd",
        f"--images={home}/images",
    )
    try:
        with nginx(home), guests(home) as found:
            measure_speed(found[0], fingerprint)
            measure_answers(found[0], found[1], fingerprint)
            measure_memory(devlxd, found, fingerprint, home / "shared")
    finally:
        devlxd.stop()
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
