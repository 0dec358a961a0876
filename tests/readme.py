"""The commands and code blocks of README.rst and docs/, for tests that run them."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

README = CHECKOUT / "README.rst"

OPERATING = CHECKOUT / "docs" / "operating.rst"

TUTORIAL = CHECKOUT / "docs" / "tutorial.rst"

EMBEDDING = CHECKOUT / "docs" / "embedding.rst"

FLEET = CHECKOUT / "docs" / "fleet.rst"

DIALECTS_PAGE = CHECKOUT / "docs" / "dialects.rst"

#: The sections that lead from an installed devlxd and a container to the end.
TUTORIAL_SECTIONS = ("Serve the container", "Ask from the inside", "React to a change")

#: The indented lines after ``::`` or a directive for code.
_BLOCK = re.compile(r"(?:::|(\.\. code-block:: .*))\n\n((?: {4}.*\n|\n)+)")


def blocks_of(document: Path, section: str) -> list[str]:
    """Return the literal blocks of one section, without their indentation."""
    _, _, rest = document.read_text().partition(f"\n{section}\n---")
    text = re.split(r"\n[^\n]+\n-{3,}\n", rest)[0]
    return [textwrap.dedent(block).strip() + "\n" for _, block in _BLOCK.findall(text)]


def commands_of(document: Path) -> list[list[str]]:
    """Return the options of each command ``twistd devlxd`` in a document."""
    text = document.read_text().replace("\\\n", "")
    lines = [
        line for line in text.splitlines() if "twistd -n --pidfile= devlxd" in line
    ]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[line.index("devlxd") + 1 :] for line in words]
