"""A directory of documents with one of each fault."""

from __future__ import annotations

from pathlib import Path

from devlxd.containers.document_trees import MAX_DOCUMENT

#: Files with one fault each, and what is said of it.
FAULTS = {
    "alias.yaml": ("config:\n  user.a: *a\n", "2: an alias without an anchor"),
    "boolean.yaml": (
        'config:\n  security.devlxd: "flase"\n',
        "2: security.devlxd is neither true nor false; write true or false",
    ),
    "brace.yaml": ("config: {user.a: b\n", "1: did not find expected ',' or '}'"),
    "bytes.yaml": ("config:\n  user.a: \udcff\n", "2: not UTF-8; save the file as"),
    "case.YAML": ("config: {}\n", " is ignored: documents are named"),
    "comma.json": ('{"config": {},\n}', "2: Expecting property name"),
    "conf.conf": ("config: {}\n", " is ignored: documents are named"),
    "device.yaml": ("devices:\n  eth0: nic\n", "2: devices: eth0 is not a mapping"),
    "empty.yaml": ("", " the document is empty; write config: {} at least"),
    "hidden.yaml": (
        "config:\n  user.a: b\n  cloud-init.user-data: x\n",
        "3: cloud-init.user-data is shown to guests by no dialect that is served; "
        "write user.user-data",
    ),
    "large.yaml": (" " * (MAX_DOCUMENT + 1), " longer than 16777216 bytes"),
    "list.yaml": ("- config\n", "1: the document is not a mapping; write lines"),
    "lxcpath.yaml": ("lxcpath: lib/lxc\n", "1: lxcpath is not absolute; begin it"),
    "misplaced.yaml": (
        "config: {}\nuser.a: b\n",
        "2: user.a has no effect; write it below config:",
    ),
    "my name.yaml": ("config: {}\n", " not a valid container name; use at most 128"),
    "near.yaml": (
        "config:\n  security.devlxd.image: x\n",
        "2: security.devlxd.image has no effect; did you mean security.devlxd.images?",
    ),
    "quote.yaml": ('config:\n  user.a: "b\n', "unexpected end of stream; close the"),
    "tab.yaml": ("config:\n\tuser.a: b\n", "2: found character that cannot start"),
    "top.yaml": ("conifg: {}\n", "1: conifg has no effect; did you mean config?"),
    "double.json": (
        '{"config": {"user.a": "x",\n "user.a": "y"}}',
        "2: duplicate key user.a, as on line 1; keep one",
    ),
    "key.yaml": (
        "config:\n  user.a: x\n  user.b: y\n  user.a: z\n",
        "4: duplicate key user.a, as on line 2; keep one",
    ),
    "uids.yaml": (
        "config:\n  security.devlxd.uids: ubuntu\n",
        "2: security.devlxd.uids is no list of uids; write numbers with commas",
    ),
    "type.yaml": ("config:\n  user.a: [1]\n", "2: config: user.a is not text; write"),
}


def write_faults(directory: Path) -> None:
    """Write a document with each fault, and other entries with a fault.

    :param directory: every user must be able to search it, and those around it.
    """
    for name, (text, _) in FAULTS.items():
        path = directory / name
        path.write_text(text, errors="surrogateescape")
        path.chmod(0o600)
    for name in ("two.json", "two.yaml"):
        (directory / name).write_text("{}\n")
    for name in ("id1.yaml", "id2.yaml"):
        (directory / name).write_text("id: 0123456789abcdef\n")
    public = directory / "public.yaml"
    public.write_text("config:\n  user.db-password: x\n")
    public.chmod(0o644)
    (directory / "broken.yaml").symlink_to("nowhere")
    (directory / "loop.yaml").symlink_to("loop.yaml")
    (directory / "directory.yaml").mkdir()
    (directory / "own").mkdir()
