"""Tests of ``devlxd.guestapi.ssh_keys`` and ``devlxd.guestapi.cloud_config``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi.cloud_config import COMMENT
from devlxd.guestapi.ssh_keys import (
    MAX_KEY,
    MAX_KEYS,
    SSH_KEYS_PREFIX,
    MergedKeys,
    merge_ssh_keys,
)
from devlxd.turns import finish

HEAD = "#cloud-config\n"

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPfOyl6A6lSE me@home"

IMPORT = {"cloud-init.ssh-keys.mine": "root:gh:me"}

ROOT = {"name": "root", "ssh_import_id": ["gh:me"]}

USER_DATA = "cloud-init.user-data"

VENDOR_DATA = "cloud-init.vendor-data"


def merge(*configs: Mapping[str, str]) -> MergedKeys:
    """Add the SSH keys of a config to its texts."""
    return finish(merge_ssh_keys({k: v for c in configs for k, v in c.items()}))


def users_of(text: str) -> object:
    """Return the users that cloud-init reads in a text."""
    assert text.startswith(HEAD)
    return yaml.safe_load(text)["users"]


#: Users of a text, and these users after ``IMPORT`` was added.
USERS: Mapping[str, tuple[str, object]] = {
    "none": ("{}", [ROOT]),
    "only comments": ("# nothing", [ROOT]),
    "null": ("---\n", [ROOT]),
    "a string": ("users: me", ["me", ROOT]),
    "an empty string": ("users: ''", ["", ROOT]),
    "the same name": ("users: root", [ROOT]),
    "an empty list": ("users: []", [ROOT]),
    "default": ("users: [default]\nx: 1", ["default", ROOT]),
    "another": ("users:\n- name: a\n  uid: 7\n", [{"name": "a", "uid": 7}, ROOT]),
    "a mapping": (
        "users:\n- a\n- name: root\n  shell: /bin/sh\n",
        ["a", {"name": "root", "shell": "/bin/sh", "ssh_import_id": ["gh:me"]}],
    ),
    "a key": (
        "users:\n- {name: root, ssh_import_id: gh:x}",
        [{"name": "root", "ssh_import_id": ["gh:x", "gh:me"]}],
    ),
    "the same key": (
        "users:\n- {name: root, ssh_import_id: [gh:me]}",
        [{"name": "root", "ssh_import_id": ["gh:me"]}],
    ),
    "the old spelling": (
        "users:\n- {name: root, ssh-import-id: [gh:x]}",
        [{"name": "root", "ssh-import-id": ["gh:x", "gh:me"]}],
    ),
    "both spellings": (
        "users:\n- {name: root, ssh-import-id: [a], ssh_import_id: [b]}",
        [
            {
                "name": "root",
                "ssh-import-id": ["a", "gh:me"],
                "ssh_import_id": ["b", "gh:me"],
            }
        ],
    ),
    "JSON": ('{"x": 1, "users": ["root", "a"], "y": 2}', [ROOT, "a"]),
    "JSON without users": ('{"x": 1}', [ROOT]),
    "JSON with users at its end": ('{"x": 1, "users": ["a"]}\n', ["a", ROOT]),
    "indented": ("  x: 1\n  users:\n  - a\n  y: |\n   z\n", ["a", ROOT]),
    "indented, without users": ("  x: 1\n  y: 2", [ROOT]),
    "explicit keys": ("? users\n: [a]\n? x\n: y\n", ["a", ROOT]),
    "twice": ("users: [a]\nx: 1\nusers: [b]\n", ["b", ROOT]),
    "aliases": (
        "x: &x [gh:x]\nusers:\n- &u {name: root, ssh_import_id: *x}\n"
        "- {<<: *u, name: a}\n",
        [
            {"name": "root", "ssh_import_id": ["gh:x", "gh:me"]},
            {"name": "a", "ssh_import_id": ["gh:x"]},
        ],
    ),
    "an included mapping": (
        "x: &x {shell: sh, ssh_import_id: gh:x}\nusers:\n- {<<: [*x], name: root}\n",
        [{"name": "root", "shell": "sh", "ssh_import_id": ["gh:x", "gh:me"]}],
    ),
    "text": (
        "users:\n- name: a\n  gecos: >\n    x\n     y\n\n    z\n",
        [{"name": "a", "gecos": "x\n y\n\nz\n"}, ROOT],
    ),
}

#: Texts that keys cannot be added to, and the reason.
UNMERGED = {
    "#!/bin/sh\n": "not #cloud-config",
    "#cloud-config-archive\n- a\n": "not #cloud-config",
    "Content-Type: multipart/mixed; boundary=x\n\n--x\n": "not #cloud-config",
    "H4sIAAAAAAAA": "not #cloud-config",
    "\x1f\ufffd\x08": "not #cloud-config",
    "users: []\n": "not #cloud-config",
    "## template: jinja\n" + HEAD + "users: [{{ name }}]": "a template",
    HEAD + "users:\n\t- a": "not YAML: found character that cannot start any token, "
    "line 3",
    HEAD + "- a": "not a mapping",
    HEAD + "a: 1\n---\nb: 2": "more than one document",
    HEAD + "users: {a: b}": "'users' is not a list",
    HEAD + "users:": "'users' is not a list",
    HEAD + "users: 5": "'users' is not a list",
    HEAD + "users: [[root]]": "a user is neither a name nor a mapping",
    HEAD + "users: [{name: root, ssh_import_id: {}}]": "'ssh_import_id' is not a list",
    HEAD + "users: &u [a]\nx: *u": "aliases elsewhere refer to 'users'",
    HEAD + "<<: {users: [a]}": "'users' comes from another mapping",
    HEAD + "users: [{<<: 1}]": "'<<' with a value that is not a mapping",
}


class TextTests(SynchronousTestCase):
    """Adding keys to one text."""

    def test_users(self) -> None:
        """Keys are added to the users of a text, however it is written."""
        for name, (text, expected) in USERS.items():
            merged = merge(IMPORT, {VENDOR_DATA: HEAD + text})
            self.assertEqual(merged.problems, {}, name)
            self.assertEqual(users_of(merged.values[VENDOR_DATA]), expected, name)

    def test_others(self) -> None:
        """The other entries are the same as before."""
        for name, (text, _) in USERS.items():
            merged = merge(IMPORT, {VENDOR_DATA: HEAD + text}).values[VENDOR_DATA]
            before = yaml.safe_load(text) or {}
            after = yaml.safe_load(merged)
            self.assertEqual({**before, "users": 0}, {**after, "users": 0}, name)

    def test_verbatim(self) -> None:
        """Everything but the users stays as it was written, with its comments."""
        text = (
            "#cloud-config\n# mine\nbootcmd:  # early\n- chmod 0644 /x\n"
            "users: [me]\n\nupdate: yes # please\n"
        )
        expected = (
            "#cloud-config\n# mine\nbootcmd:  # early\n- chmod 0644 /x\n"
            "users:\n- me\n- name: root\n  ssh_import_id:\n"
            "  - gh:me #lxd:cloud-init.ssh-keys\nupdate: yes # please\n"
        )
        merged = merge(IMPORT, {USER_DATA: text})
        self.assertEqual(merged.values[USER_DATA], expected)

    def test_head(self) -> None:
        """The line ``#cloud-config`` may be the second one."""
        text = "# mine\n #cloud-config \nusers: []\n"
        merged = merge(IMPORT, {USER_DATA: text}).values[USER_DATA]
        self.assertEqual(merged[:24], text[:24])

    def test_line_ends(self) -> None:
        """Lines may end as on Windows, and the last one not at all."""
        text = "#cloud-config\r\nx: 1\r\nusers: [a]\r\ny: 2"
        merged = merge(IMPORT, {USER_DATA: text}).values[USER_DATA]
        read = yaml.safe_load(merged)
        self.assertEqual(read, {"x": 1, "users": ["a", ROOT], "y": 2})

    def test_not_mergeable(self) -> None:
        """Other texts do not change, and the reason is returned."""
        for text, problem in UNMERGED.items():
            for name in USER_DATA, VENDOR_DATA:
                merged = merge(IMPORT, {name: text})
                self.assertEqual(merged.problems, {name: problem})
                self.assertNotIn(name, merged.values)

    def test_comment(self) -> None:
        """Text like the comment after added keys is not changed."""
        comment = "#lxd:cloud-init.ssh-keys"
        text = f"{HEAD}users:\n- name: a{comment}\n"
        merged = merge(IMPORT, {USER_DATA: text}).values[USER_DATA]
        self.assertEqual(users_of(merged), [{"name": f"a{comment}"}, ROOT])


class SideTests(SynchronousTestCase):
    """Whether keys are added to user-data, vendor-data, or both."""

    def sides(self, *configs: Mapping[str, str]) -> set[str]:
        """Return the config keys that ``IMPORT`` changes."""
        return set(merge(IMPORT, *configs).values)

    def test_nothing(self) -> None:
        """Without texts, both get one, under the name that cloud-init prefers."""
        merged = merge(IMPORT)
        expected = (
            "#cloud-config\nusers:\n- name: root\n  ssh_import_id:\n"
            "  - gh:me #lxd:cloud-init.ssh-keys\n"
        )
        self.assertEqual(merged.values, {USER_DATA: expected, VENDOR_DATA: expected})

    def test_vendor_users(self) -> None:
        """User-data without users does not replace the users of vendor-data."""
        for vendor in "users: [a]", "users: []", "users: {}", "users:":
            text = {"user.vendor-data": HEAD + vendor}
            for user in {}, {USER_DATA: HEAD + "x: 1"}:
                self.assertLessEqual(self.sides(text, user), {"user.vendor-data"})
        user = {USER_DATA: HEAD + "users: [b]"}
        vendor_text = {VENDOR_DATA: HEAD + "users: [a]"}
        self.assertEqual(self.sides(vendor_text, user), {USER_DATA, VENDOR_DATA})

    def test_empty_vendor_users(self) -> None:
        """``users: ''`` counts as no users."""
        vendor = {VENDOR_DATA: HEAD + "users: ''"}
        self.assertEqual(self.sides(vendor), {USER_DATA, VENDOR_DATA})

    def test_unreadable_vendor_data(self) -> None:
        """Keys are added to user-data if the vendor-data cannot be read."""
        vendor = {VENDOR_DATA: "users:\n- name: root\n"}
        self.assertEqual(self.sides(vendor), {USER_DATA})

    def test_preferred_vendor_data(self) -> None:
        """The users of the vendor-data that cloud-init ignores do not count."""
        vendor = {VENDOR_DATA: HEAD, "user.vendor-data": HEAD + "users: [a]"}
        expected = {VENDOR_DATA, "user.vendor-data", USER_DATA}
        self.assertEqual(self.sides(vendor), expected)

    def test_both_names(self) -> None:
        """Keys are added to the texts under both names."""
        texts = {USER_DATA: HEAD, "user.user-data": HEAD + "x: 1"}
        self.assertEqual(self.sides(texts), {USER_DATA, "user.user-data", VENDOR_DATA})

    def test_empty_text(self) -> None:
        """An empty text counts as none."""
        texts = {USER_DATA: "", "user.user-data": HEAD}
        self.assertEqual(self.sides(texts), {"user.user-data", VENDOR_DATA})


class KeyTests(SynchronousTestCase):
    """The values of ``cloud-init.ssh-keys.*``."""

    def users(self, *values: str) -> object:
        """Return the users that get a key."""
        keys = {f"cloud-init.ssh-keys.{n}": v for n, v in enumerate(values)}
        return users_of(merge(keys).values[VENDOR_DATA])

    def test_ignored(self) -> None:
        """Values without a user and a key change nothing."""
        values = ("none", "", "root:", ":gh:me")
        config = {f"cloud-init.ssh-keys.{n}": v for n, v in enumerate(values)}
        self.assertEqual(merge(config, {USER_DATA: HEAD}), MergedKeys({}, {}))

    def test_no_keys(self) -> None:
        """Without keys nothing is read or changed."""
        config = {USER_DATA: "\t", VENDOR_DATA: "#!/bin/sh"}
        self.assertEqual(merge(config), MergedKeys({}, {}))

    def test_kinds(self) -> None:
        """A key with a space is a public key, another one is imported."""
        expected = [
            {
                "name": "root",
                "ssh_authorized_keys": [PUBLIC],
                "ssh_import_id": ["gh:me", "lp:me"],
            },
            {"name": "me", "ssh_authorized_keys": [PUBLIC]},
        ]
        users = self.users(f"root:{PUBLIC}", f"me:{PUBLIC}", "root:gh:me", "root:lp:me")
        self.assertEqual(users, expected)

    def test_same_key(self) -> None:
        """A key is added to a user once only."""
        self.assertEqual(self.users("root:gh:me", "root:gh:me"), [ROOT])

    @given(st.text(), st.text())
    def test_any_key(self, name: str, key: str) -> None:
        """Every key arrives as it is, whatever characters are in it."""
        merged = merge({"cloud-init.ssh-keys.x": f"{name}:{key}"})
        user, _, value = f"{name}:{key}".partition(":")
        if user and value:
            kind = "ssh_authorized_keys" if " " in value else "ssh_import_id"
            for users in map(users_of, merged.values.values()):
                self.assertEqual(users, [{"name": user, kind: [value]}])

    @given(st.text(alphabet="a1:# -'\"{}[],&*!|>%@`~\n", min_size=1))
    def test_quoting(self, key: str) -> None:
        """The same between braces, and for keys that look like YAML."""
        for text in "{}", "x: 1":
            config = {"cloud-init.ssh-keys.x": f"{key}:{key}", USER_DATA: HEAD + text}
            user, _, value = f"{key}:{key}".partition(":")
            if user and value:
                kind = "ssh_authorized_keys" if " " in value else "ssh_import_id"
                users = users_of(merge(config).values[USER_DATA])
                self.assertEqual(users, [{"name": user, kind: [value]}])


VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none() | st.dates(),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(st.text(max_size=3), child, max_size=3)
    ),
    max_leaves=8,
)

ITEMS = st.one_of(
    st.sampled_from(["default", "root", "me"]),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["root", "me", "you"])},
        optional={
            "gecos": st.text(),
            "extra": VALUES,
            "ssh_import_id": st.lists(st.text(), max_size=2) | st.text(),
            "ssh-import-id": st.lists(st.text(), max_size=2),
        },
    ),
)


def expected_users(users: list[Any]) -> list[Any]:
    """Add ``IMPORT`` to the users, as a plain program would do it."""
    for number, user in enumerate(users):
        if user == "root":
            users[number] = ROOT
            return users
        if isinstance(user, dict) and user["name"] == "root":
            lists = [k for k in ("ssh_import_id", "ssh-import-id") if k in user]
            for name in lists or ["ssh_import_id"]:
                old = user.get(name, [])
                items = [old] if isinstance(old, str) else old
                user[name] = [*items, *([] if "gh:me" in items else ["gh:me"])]
            return users
    return [*users, ROOT]


class ExplicitKeyTests(SynchronousTestCase):
    """Entries with a ``?`` before the key."""

    def check(self, text: str) -> None:
        """Check that a key is added, and that nothing else changes."""
        merged = merge(IMPORT, {USER_DATA: HEAD + text}).values[USER_DATA]
        read = yaml.safe_load(text)
        expected = {**read, "users": expected_users(list(read.get("users", [])))}
        self.assertEqual(yaml.safe_load(merged), expected, merged)

    def test_flow(self) -> None:
        """Between braces."""
        for text in (
            "{users: [root], ? '\n\n  ' : []}",
            "{? a : b, ? users : [root], ? c : d}",
            "{? # users ?\n  users : [root], ? c : d}",
            "{? a : what, users: [root], b: 'x? '}",
            "{? a}",
        ):
            self.check(text)

    def test_block(self) -> None:
        """On lines of their own."""
        self.check("? a\n: b\n? users\n: [root]\n?  c\n: d\n")
        self.check("a: b\n?\n  users\n:\n- root\n? c\n")


class LiteralTests(SynchronousTestCase):
    """Literal text in the users."""

    def test_empty_lines(self) -> None:
        """Empty lines at the end of a text are kept, and do not end the document."""
        for literal in ("|+\n\n", "|+\n    x\n\n\n", "|\n    x\n", "|-\n    x\n"):
            text = f"users:\n- name: root\n  extra: {literal}after: 1\n"
            merged = merge(IMPORT, {USER_DATA: HEAD + text}).values[USER_DATA]
            read = yaml.safe_load(text)
            expected = {**read, "users": expected_users(read["users"])}
            self.assertEqual(yaml.safe_load(merged), expected, merged)


class PropertyTests(SynchronousTestCase):
    """Texts of every kind."""

    @given(
        st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
        st.lists(ITEMS, max_size=3),
        st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
        st.booleans() | st.none(),
        st.sampled_from([None, '"', "'", "|", ">"]),
        st.booleans(),
    )
    def test_configs(
        self,
        before: dict[str, Any],
        users: list[Any],
        after: dict[str, Any],
        flow: bool | None,
        style: str | None,
        unicode: bool,
    ) -> None:
        """Keys are added, and nothing else changes, in every style of YAML."""
        config = {**before, "users": users, **after}
        text = HEAD + yaml.safe_dump(
            config,
            default_flow_style=flow,
            default_style=style,
            allow_unicode=unicode,
            sort_keys=False,
        )
        merged = merge(IMPORT, {USER_DATA: text})
        self.assertEqual(merged.problems, {})
        read = yaml.safe_load(text)
        expected = {**read, "users": expected_users(read["users"])}
        self.assertEqual(yaml.safe_load(merged.values[USER_DATA]), expected)

    @given(
        st.text(alphabet="user s:{}[],-? \n\t#&*!|>'\"%@`~<\ufeff\x85\u2028\x00"),
        st.sampled_from([HEAD, "", "## template: jinja\n#cloud-config\n"]),
    )
    def test_any_text(self, text: str, head: str) -> None:
        """No text is an error: it is merged, or has a problem."""
        merged = merge(IMPORT, {USER_DATA: head + text})
        if head + text:
            found = (USER_DATA in merged.values) + (USER_DATA in merged.problems)
            self.assertEqual(found, 1)


def first_users(text: str) -> list[Any]:
    """Return the users at the beginning of a large text."""
    users = yaml.safe_load(text.partition("runcmd:")[0])["users"]
    assert isinstance(users, list)
    return users


class CostTests(SynchronousTestCase):
    """Large texts."""

    def test_slices(self) -> None:
        """A text of 1 MiB is processed in many slices."""
        keys = {f"cloud-init.ssh-keys.{n}": f"u{n}:{PUBLIC}" for n in range(5)}
        lines = "".join(f"- echo {n:060}\n" for n in range(15_000))
        text = f"{HEAD}users: [u0]\nruncmd:\n{lines}"
        slices = merge_ssh_keys({USER_DATA: text, **keys})
        pauses = 0
        while True:
            try:
                next(slices)
            except StopIteration as stop:
                merged = stop.value
                break
            pauses += 1
        self.assertEqual(len(first_users(merged.values[USER_DATA])), 5)
        self.assertGreater(pauses, 200)

    def test_large_users(self) -> None:
        """A very long list of users is refused, not processed for long."""
        text = HEAD + "users:\n" + "- a\n" * 100_000
        problems = merge(IMPORT, {USER_DATA: text}).problems
        self.assertEqual(problems, {USER_DATA: "too many values"})

    def test_many_users(self) -> None:
        """Keys of many users cost as much for each user, in a text with many others."""
        keys = {f"cloud-init.ssh-keys.{n}": f"u{n}:{PUBLIC}" for n in range(1000)}
        text = HEAD + "users:\n" + "".join(f"- name: v{n}\n" for n in range(1000))
        merged = merge(keys, {USER_DATA: text})
        names = [
            user["name"] for user in yaml.safe_load(merged.values[USER_DATA])["users"]
        ]
        self.assertEqual(
            sorted(names), sorted(f"{a}{n}" for a in "uv" for n in range(1000))
        )

    def test_many_keys(self) -> None:
        """More keys than the limit are refused, and so is a key that is too long."""
        many = {f"{SSH_KEYS_PREFIX}{n}": f"root:gh:{n}" for n in range(MAX_KEYS + 1)}
        long = {f"{SSH_KEYS_PREFIX}a": "root:" + "x" * MAX_KEY}
        for keys, problem in (
            (many, f"more than {MAX_KEYS} SSH keys"),
            (long, "an SSH key that is too long"),
        ):
            merged = merge(keys, {USER_DATA: HEAD})
            self.assertEqual(merged.values, {})
            self.assertEqual(
                merged.problems, dict.fromkeys((VENDOR_DATA, USER_DATA), problem)
            )

    def test_marks(self) -> None:
        """A text with comments like those of added keys costs no more."""
        comments = "".join(f"{COMMENT}-{n}!\n" for n in range(3))
        text = f"{HEAD}{COMMENT}{'!' * 100_000}\n{comments}a: b\n"
        merged = merge(IMPORT, {USER_DATA: text}).values[USER_DATA]
        self.assertIn(f"- gh:me {COMMENT}\n", merged)
        self.assertEqual(yaml.safe_load(merged), {"users": [ROOT], "a": "b"})

    def test_comment_in_key(self) -> None:
        """A comment after the ``?`` of a key is skipped; a very long one is not."""
        text = HEAD + "? # is this a key?\n  users\n: [root]\n"
        merged = merge(IMPORT, {USER_DATA: text}).values[USER_DATA]
        self.assertEqual(yaml.safe_load(merged), {"users": [ROOT]})
        text = text.replace("is this", "?" * 5000)
        problems = merge(IMPORT, {USER_DATA: text}).problems
        self.assertEqual(problems, {USER_DATA: "a key in an unknown place"})
