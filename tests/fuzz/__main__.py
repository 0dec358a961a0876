"""Try examples of all targets for some time: ``python -m tests.fuzz --seconds 60``.

The targets are tried in turn, with more examples from turn to turn, for about the
same time each. The exit status is
1 if a property does not hold: the smallest example that was found is printed, and the
command that finds it again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from argparse import ArgumentParser
from types import FrameType

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

#: How many examples are tried in the first turn of a target, and in each later one.
FIRST, MOST = 100, 2000

#: How long one turn may take, in seconds: no input is processed for so long.
TURN_TIMEOUT = 900


#: How much is printed of an error: lines, and characters of each.
MAX_LINES, MAX_LINE = 200, 1000


def main() -> None:
    """Fuzz; the exit status is 1 if a property does not hold."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="default: 60")
    parser.add_argument("--only", choices=TARGETS, help="the target; default: all")
    parser.add_argument("--seed", type=int, help="try one turn with this seed")
    parser.add_argument(
        "--examples", type=int, default=FIRST, help="in this turn; default: 100"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _fail)
    names = [options.only] if options.only else list(TARGETS)
    if options.seed is not None:
        sys.exit(
            not all(_turn(TARGETS[n], options.examples, options.seed) for n in names)
        )
    end = time.monotonic() + options.seconds
    is_right, tried = True, dict.fromkeys(names, 0)
    spent = dict.fromkeys(names, 0.0)
    while is_right and (start := time.monotonic()) < end:
        # The target for which the least time was spent.
        name = min(names, key=spent.__getitem__)
        count = min(MOST, FIRST + tried[name] // 2)
        if tried[name]:
            # As many as can be tried in the rest of the time.
            count = min(count, int((end - start) * tried[name] / spent[name]) + 1)
        is_right = _turn(TARGETS[name], count, int.from_bytes(os.urandom(4), "big"))
        spent[name] += time.monotonic() - start
        tried[name] += count
    print(", ".join(f"{name}: {count} examples" for name, count in tried.items()))
    sys.exit(not is_right)


def _turn(target: Target[object], count: int, seed: int) -> bool:
    """Try examples; return whether all are right."""
    signal.alarm(TURN_TIMEOUT)
    try:
        target.run(count, seed)
    except Exception:
        for line in traceback.format_exc().splitlines()[:MAX_LINES]:
            print(line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} ...")
        print(
            f"to find it again: python -m tests.fuzz --only {target.name} "
            f"--seed {seed} --examples {count}"
        )
        return False
    finally:
        signal.alarm(0)
    return True


def _fail(_number: int, _frame: FrameType | None) -> None:
    raise AssertionError(f"a turn has not ended within {TURN_TIMEOUT} s")


if __name__ == "__main__":
    main()
