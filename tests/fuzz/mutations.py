"""Strategies that damage valid bytes, and split them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy


@st.composite
def mutated(
    draw: DrawFn, valid: SearchStrategy[bytes], tokens: Sequence[bytes]
) -> bytes:
    """Return bytes with up to four mutations; a third are valid.

    :param tokens: bytes to insert, which have a meaning.
    """
    data = draw(valid)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 4]))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 4, 30])))
        kind = draw(st.sampled_from(["token", "token", "bytes", "delete", "again"]))
        new = {"delete": b"", "again": data[start:end] * draw(st.integers(2, 50))}
        if kind == "token":
            inserted = draw(st.sampled_from(tokens))
        elif kind == "bytes":
            inserted = draw(st.binary(max_size=20))
        else:
            inserted = new[kind]
        data = data[:start] + inserted + data[end:]
    return data


@st.composite
def pieces(draw: DrawFn, whole: SearchStrategy[bytes]) -> list[bytes]:
    """Return bytes in pieces, as they may arrive."""
    data = draw(whole)
    if draw(st.integers(0, 20)) == 0:
        # One by one, but not for long.
        return [data[n : n + 1] for n in range(min(len(data), 400))] + [data[400:]]
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=6))
    bounds = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(bounds) if a < b]


def mostly(
    usual: SearchStrategy[bytes], other: SearchStrategy[bytes]
) -> SearchStrategy[bytes]:
    """Return a strategy for ``usual``, and once in eight times for ``other``."""
    return st.integers(0, 7).flatmap(lambda n: other if n == 7 else usual)
