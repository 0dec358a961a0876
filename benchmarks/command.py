"""Measure how long ``devlxd config KEY`` takes, compared with ``python3 -c pass``.

Both are measured in turn, with a devlxd that answers. Run it in a checkout with
``python -m benchmarks.command``; with ``--checkout DIR`` the command of another
checkout is measured as well.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from benchmarks.serving import (
    HERE,
    CheckoutServer,
    checkouts,
    environment_for,
    in_turns,
    make_parser,
    print_row,
)

ROUNDS = 30
QUICK_ROUNDS = 10

#: What the console script does.
COMMAND = "import sys; from devlxd.commands.main import main; sys.exit(main())"

#: How much longer the command may take, in milliseconds.
ALLOWED = 60

#: The name of the measurement without the command.
NOTHING = "pass"


def main() -> None:
    """Measure all in turn; print the medians, and the difference."""
    options = make_parser(__doc__).parse_args()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="devlxd-") as name:
        containers, sockets = Path(name, "containers"), Path(name, "sockets")
        containers.mkdir()
        (containers / "c1.yaml").write_text("config: {user.foo: bar}\n")
        server = CheckoutServer(
            HERE, sockets, "--assume=c1", f"--containers={containers}"
        )
        try:
            _measure(checkouts(options.checkout), sockets / "sock", rounds)
        finally:
            server.stop()


def _measure(checkouts: Mapping[str, Path], path: Path, rounds: int) -> None:
    command = [sys.executable, "-c", COMMAND, "config", "user.foo", f"--socket={path}"]
    commands = {
        NOTHING: ([sys.executable, "-c", "pass"], environment_for(HERE), b""),
        **{
            name: (command, environment_for(checkout), b"bar")
            for name, checkout in checkouts.items()
        },
    }
    measured = in_turns(commands, rounds, lambda each: _milliseconds(*each))
    print_row("start to end, median", measured, "ms")
    nothing = statistics.median(measured.pop(NOTHING))
    for name, values in measured.items():
        more = statistics.median(values) - nothing
        print(f"{name}: {more:.1f} ms more than {NOTHING}; {ALLOWED} ms are allowed")


def _milliseconds(
    command: list[str], environment: Mapping[str, str], expected: bytes
) -> float:
    """Return how long a command takes."""
    start = perf_counter()
    printed = subprocess.check_output(command, env=environment)
    taken = 1000 * (perf_counter() - start)
    assert printed == expected, printed
    return taken


if __name__ == "__main__":
    main()
