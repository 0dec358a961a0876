"""Tests of ``devlxd.guestapi.meta_data``."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi.meta_data import MetaData, merge_meta_data
from devlxd.guestapi.yaml_mappings import MAX_ENTRIES, MAX_TEXT
from devlxd.turns import finish

DEFAULTS = {"instance-id": "c1-id", "local-hostname": "c1"}
DEFAULTS_TEXT = "instance-id: c1-id\nlocal-hostname: c1\n"


def merge(text: str, head: str = "") -> MetaData:
    """Merge a text over `DEFAULTS`."""
    return finish(merge_meta_data(head, DEFAULTS, text))


def load(text: str) -> object:
    """Read a text, and check that no key is in it twice."""
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    constructor = yaml.constructor.SafeConstructor()
    keys = [
        constructor.construct_object(key)
        for key, _ in root.value
        if key.tag != "tag:yaml.org,2002:merge"
    ]
    assert len(keys) == len(set(keys)), keys
    return yaml.safe_load(text)


#: Texts that are mappings, and the mapping that a guest reads.
MERGED = {
    "": DEFAULTS,
    "# nothing\n": DEFAULTS,
    "a: 1": DEFAULTS | {"a": 1},
    "a: 1\r\nb: 2": DEFAULTS | {"a": 1, "b": 2},
    "---\na: 1\n": DEFAULTS | {"a": 1},
    "# c\n--- # d\n# e\na: 1\n...\n# f\n": DEFAULTS | {"a": 1},
    "%YAML 1.1\n---\na: 1": DEFAULTS | {"a": 1},
    "{a: 1}": DEFAULTS | {"a": 1},
    "{}": DEFAULTS,
    "{# c\n}": DEFAULTS,
    "--- {a: 1, 'a': 2}": DEFAULTS | {"a": 2},
    "{? a : 1, ? a : 2}": DEFAULTS | {"a": 2},
    '{"instance-id": "x", "a": [1, {"b": 2}]}': DEFAULTS
    | {"instance-id": "x", "a": [1, {"b": 2}]},
    "!!map\na: 1": DEFAULTS | {"a": 1},
    "  a: 1\n  b: 2": DEFAULTS | {"a": 1, "b": 2},
    "\ufeffa: 1": DEFAULTS | {"a": 1},
    "\ufeff---\na: 1": DEFAULTS | {"a": 1},
    "instance-id: x": DEFAULTS | {"instance-id": "x"},
    "'instance-id': x\n\"local-hostname\": y": {
        "instance-id": "x",
        "local-hostname": "y",
    },
    "a: 1\n# c\na: 2\nb: 3\na: 4": DEFAULTS | {"a": 4, "b": 3},
    "instance-id: x\ninstance-id: y\n": DEFAULTS | {"instance-id": "y"},
    "? a\n: 1\n? a\n: 2\n": DEFAULTS | {"a": 2},
    "b: c?\n?\n # ?\n a\n: 1\na: 2\n": DEFAULTS | {"a": 2, "b": "c?"},
    "1: a\n'1': b\n0x1: c": DEFAULTS | {"1": "b", 1: "c"},
    "x: &x {instance-id: y}\n<<: *x": DEFAULTS
    | {"instance-id": "y", "x": {"instance-id": "y"}},
    "a: &x [1]\nb: *x": DEFAULTS | {"a": [1], "b": [1]},
    "a: 0644\nb: yes\nc: 2020-01-02": DEFAULTS
    | yaml.safe_load("a: 0644\nb: yes\nc: 2020-01-02"),
}

#: Texts that are not mappings, and the reason.
APPENDED = {
    "- 1\n": "not a mapping",
    "text": "not a mapping",
    "---\n": "not a mapping",
    "~": "not a mapping",
    "a: 1\n---\nb: 2": "more than one document",
    "a: [": "not YAML: did not find expected node content, line 2",
    "a: b: c": "not YAML: mapping values are not allowed in this context, line 1",
    "\x00": "not YAML: a character that is not allowed",
    "a: \ud800": "not YAML: a character that is not allowed",
    "a: " + "[" * 100 + "]" * 100: "nested too deeply",
    "<<: *x": "an alias without an anchor before it",
    "<<: &x {a: *x}": "an alias without an anchor before it",
}


class MergeTests(SynchronousTestCase):
    """What a guest reads."""

    def test_mappings(self) -> None:
        """A mapping in any style is merged; its values win, and no key is twice."""
        for text, expected in MERGED.items():
            for head in "", "#cloud-config\n":
                merged = merge(text, head)
                self.assertEqual(load(merged.text), expected, text)
                self.assertEqual(merged.problem, None)
                self.assertEqual(merged.text[: len(head)], head)

    def test_verbatim(self) -> None:
        """A text in the usual style stays as it is, with its comments."""
        text = "# mine\na: 0644 # octal\n\nb: |\n  x\n"
        self.assertEqual(merge(text).text, DEFAULTS_TEXT + text)

    def test_not_mappings(self) -> None:
        """What is not a mapping is appended as it is, and the problem returned."""
        for text, problem in APPENDED.items():
            for head in "", "#cloud-config\n":
                expected = MetaData(head + DEFAULTS_TEXT + text, problem)
                self.assertEqual(merge(text, head), expected)

    def test_referenced_duplicate(self) -> None:
        """A repeated key stays if another entry has an alias for its value."""
        merged = merge("a: &x 1\na: 2\nb: *x\n")
        self.assertEqual(yaml.safe_load(merged.text), DEFAULTS | {"a": 2, "b": 1})

    def test_too_large(self) -> None:
        """Very large texts are appended without an attempt to read them."""
        for text in ("a" * MAX_TEXT + ": 1", "a: 1\n" * (MAX_ENTRIES + 1)):
            merged = merge(text)
            self.assertEqual(merged.text, DEFAULTS_TEXT + text)
            self.assertIn("more than", str(merged.problem))

    def test_bombs(self) -> None:
        """Aliases that multiply are rejected before they are expanded."""
        text = "x0: &x0 [a]\n" + "".join(
            f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 12)
        )
        problem = merge(text).problem
        self.assertEqual(problem, "too large when its aliases are expanded")

    def test_unusual_instance_id(self) -> None:
        """An instance-id with other characters survives between braces."""
        merged = finish(merge_meta_data("", {"instance-id": "a, b}"}, "{c: 1}"))
        self.assertEqual(load(merged.text), {"instance-id": "a, b}", "c": 1})

    def test_slices(self) -> None:
        """A large text is read in many slices."""
        slices = merge_meta_data("", DEFAULTS, "a:\n" + "- x\n" * 100_000)
        self.assertGreater(sum(1 for _ in slices), 1000)


KEYS = st.one_of(
    st.sampled_from(sorted(DEFAULTS)), st.text(max_size=4), st.booleans(), st.integers()
)
SCALARS = st.one_of(
    st.text(), st.integers(), st.booleans(), st.none(), st.dates(), st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(st.text(max_size=3), child, max_size=3)
    ),
    max_leaves=6,
)

#: Strings that JSON and YAML write in the same way.
JSON_TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, dict[Any, Any]]:
    """Generate a mapping and one of the many ways to write it."""
    pairs = draw(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=4))
    flow = draw(st.booleans())
    width = draw(st.sampled_from([10, 80, 10_000]))
    style = draw(st.sampled_from([None, '"', "'", "|", ">"]))
    unicode = draw(st.booleans())

    def dump(value: object) -> str:
        return str(
            yaml.safe_dump(
                value,
                default_flow_style=flow,
                width=width,
                default_style=style,
                allow_unicode=unicode,
            )
        )

    if flow:
        inner = [dump({key: value}).strip()[1:-1] for key, value in pairs]
        text = "{" + ", ".join(inner) + "}"
    else:
        text = "".join(dump({key: value}) for key, value in pairs)
    start = draw(st.sampled_from(["", "---\n", "# c\n", "\ufeff", "%YAML 1.1\n---\n"]))
    end = draw(st.sampled_from(["", "\n", "\n# c", "\n...\n"]))
    text = start + (text if draw(st.booleans()) else text.rstrip("\n")) + end
    return text, yaml.safe_load(text)


class PropertyTests(SynchronousTestCase):
    """Meta-data of every kind."""

    @given(texts())
    def test_mappings(self, generated: tuple[str, dict[Any, Any]]) -> None:
        """A guest reads every key once: the one of the text, or else the default."""
        text, values = generated
        merged = merge(text)
        self.assertEqual(merged.problem, None)
        self.assertEqual(load(merged.text), DEFAULTS | values)

    @given(
        st.dictionaries(JSON_TEXT, st.none() | st.integers() | JSON_TEXT, max_size=4)
    )
    def test_json(self, values: dict[str, Any]) -> None:
        """JSON objects are mappings, too."""
        text = json.dumps(values, ensure_ascii=False)
        merged = merge(text)
        self.assertEqual(load(merged.text), DEFAULTS | yaml.safe_load(text))

    @given(st.text(alphabet="ab:{}[],-? \n\t#&*!|>'\"%@`~<\ufeff\x85\u2028\x00"))
    def test_any_text(self, text: str) -> None:
        """No text is an error; a text that is not merged is appended as it is."""
        merged = merge(text)
        if merged.problem is not None:
            self.assertEqual(merged.text, DEFAULTS_TEXT + text)
