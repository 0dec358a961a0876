"""Bytes of the file of ``--config``: options, or an error that names the line."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import yaml
from hypothesis import strategies as st

from devlxd.config_file import ConfigFileError, KnownOptions, read_config
from tests.fuzz.documents import TOKENS
from tests.fuzz.mutations import mostly, mutated
from tests.fuzz.target import Target

#: What there is of each kind.
OPTIONS = KnownOptions(["state", "log-level"], ["listen", "admin"], ["demo"])

_text = st.text(max_size=8) | st.sampled_from(["/dir", "lxd6=/dir", "1", "true", ""])


@st.composite
def valid_configs(draw: st.DrawFn) -> bytes:
    """Return a valid file."""
    tree: dict[str, object] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "state": _text,
                "log-level": _text,
                "listen": _text | st.lists(_text, max_size=3),
                "admin": st.lists(_text, max_size=3),
                "demo": st.booleans(),
                "limits": st.dictionaries(_text, _text, max_size=3),
            },
        )
    )
    style = draw(st.sampled_from([None, False, True]))
    text: str = yaml.safe_dump(tree, default_flow_style=style)
    return text.encode()


def check(content: bytes) -> None:
    """Check what is read from a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "devlxd.yaml")
        Path(path).write_bytes(content)
        lines = len(content.decode("utf-8", "replace").splitlines())
        try:
            settings = read_config(path, OPTIONS)
        except ConfigFileError as error:
            text = str(error)
            assert text.isprintable(), ascii(text)
            assert len(text) < 1000, text
            match = re.match(re.escape(path) + r":(\d+): .", text)
            if match is None:
                assert text.startswith((f"{path}: not YAML", f"{path}: longer than"))
            else:
                assert 1 <= int(match[1]) <= lines + 1, f"{lines} lines: {text}"
            return
    for setting in settings:
        assert setting.option in {*OPTIONS.names(), "limit"}, setting
        assert type(setting.value) is str
        assert 1 <= setting.line <= lines, setting


#: Valid and damaged files.
TARGET = Target(
    "configs",
    mostly(mutated(valid_configs(), TOKENS), st.binary(max_size=300)),
    check,
)
