"""Configurations of containers that cloud-init's reader is compared with."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping

from attrs import field, frozen

USER_DATA = "cloud-init.user-data"

#: The key with the instance-id; as the value of a field, what LXD has set it to.
INSTANCE_ID = "volatile.cloud-init.instance-id"

#: As the value of a field, the name of the container.
NAME = "name of the container"

_UTF_8 = "#cloud-config\nfinal_message: 'äöü ß ‖ 漢字 😀 \u00a0\u200b'\n"

_CLOUD_CONFIG = "#cloud-config\npackages: [curl]\n"

_GZIPPED = gzip.compress(_CLOUD_CONFIG.encode(), mtime=0)

_MIME = """\
Content-Type: multipart/mixed; boundary="==b=="\r
MIME-Version: 1.0\r
\r
--==b==\r
Content-Type: text/cloud-config; charset="us-ascii"\r
Content-Disposition: attachment; filename="a.yaml"\r
\r
packages: [curl]\r
--==b==\r
Content-Type: text/x-shellscript\r
Content-Transfer-Encoding: base64\r
\r
IyEvYmluL3NoCmVjaG8gMQo=\r
--==b==--\r
"""

_NETWORK_1 = """\
version: 1
config:
  - type: physical
    name: eth0
    mac_address: "00:16:3e:00:00:01"
    subnets: [{type: dhcp, control: auto}]
"""

_NETWORK_2 = """\
network:
  version: 2
  ethernets:
    eth0:
      match: {macaddress: 00:16:3e:00:00:01}
      addresses: [192.0.2.1/24, "2001:db8::1/64"]
      dhcp4: no
"""


@frozen
class Difference:
    """A field that cloud-init reads otherwise from devlxd than from LXD 5.0.2.

    :ivar ours: its value from devlxd: a text, or `INSTANCE_ID` or `NAME`.
    :ivar reason: why devlxd's value is the right one.
    :ivar always: whether it differs with every version of cloud-init.
    """

    ours: str
    reason: str
    always: bool = True


@frozen
class Configuration:
    """What the operator configures.

    :ivar config: the config of the container.
    :ivar devices: its devices.
    :ivar profile: the config of its profile.
    :ivar differences: what differs, by the names of the fields that
        `tests.integration.test_cloud_configs.fields` returns.
    """

    config: Mapping[str, str]
    devices: Mapping[str, Mapping[str, str]] = field(factory=dict)
    profile: Mapping[str, str] = field(factory=dict)
    differences: Mapping[str, Difference] = field(factory=dict)


def _user_data(text: str) -> Configuration:
    return Configuration({USER_DATA: text})


def _meta_data(text: str) -> Configuration:
    return Configuration({"user.meta-data": text})


def _merged(text: str, location: str) -> Configuration:
    reason = (
        "LXD appends user.meta-data to lines in block style. What results is not one "
        "YAML document, and cloud-init gives up; devlxd merges the two"
    )
    ours = {"instance-id": INSTANCE_ID, "local-hostname": NAME, "location": location}
    differences = {
        f"meta-data: {name}": Difference(value, reason) for name, value in ours.items()
    }
    return Configuration({"user.meta-data": text}, differences=differences)


def _guessed(text: str) -> Difference:
    reason = (
        "LXD does not say that the text is UTF-8; cloud-init 22.4 then guesses an "
        "encoding, and guesses a wrong one here"
    )
    return Difference(text, reason, always=False)


def _has_slash(value: str) -> Difference:
    reason = (
        "LXD lists the path of a key with a slash, but responds to it with a 404. "
        "cloud-init calls the key what follows the last slash"
    )
    return Difference(value, reason)


def _disk(path: str) -> dict[str, str]:
    return {"type": "disk", "source": "/usr/share", "path": path}


_NIC = {"type": "nic", "nictype": "p2p"}

#: The configurations by what is special about them.
CONFIGURATIONS: dict[str, Configuration] = {
    "nothing": Configuration({}),
    "one key": Configuration({"user.foo": "bar"}),
    "UTF-8": Configuration(
        {USER_DATA: _UTF_8},
        differences={
            "config: cloud-init.user-data": _guessed(_UTF_8),
            "user-data": _guessed(_UTF_8),
        },
    ),
    "UTF-8, short": Configuration({"user.name": "Zoë", "user.city": "Łódź"}),
    "percent signs": _user_data(
        "#cloud-config\nbootcmd: [date +%s%%, 'echo %41%zz %']"
    ),
    "quotes": _user_data("#cloud-config\nbootcmd: ['echo \"a'' `b`\"', \"c'd\"]\n"),
    "backslashes": _user_data('#!/bin/sh\nprintf "\\\\ \\n \\x41 \\u0041"\n\\\n'),
    "CRLF": _user_data("#cloud-config\r\npackages:\r\n  - curl\r\n\r\n"),
    "only CR": _user_data("#!/bin/sh\recho 1\r"),
    "newlines at both ends": _user_data("\n\n#cloud-config\na: 1\n\n\n"),
    "no newline at the end": _user_data("#cloud-config\na: 1"),
    "blanks at both ends": _user_data("  #cloud-config\na: 1 \t\n \t "),
    "tabs": _user_data("#!/bin/sh\n\techo\t1\n"),
    "only blanks": Configuration({"user.a": " ", "user.b": "\n", "user.c": "\t\n "}),
    "empty values": Configuration({"user.a": "", USER_DATA: "", "user.b": "b"}),
    "HTML characters": Configuration({"user.a<b>": "<a href='x'>&amp;</a>"}),
    "jinja": _user_data("## template: jinja\n#cloud-config\na: {{ ds.meta_data }}\n"),
    "gzip in base64": _user_data(base64.encodebytes(_GZIPPED).decode()),
    "MIME": _user_data(_MIME),
    "include": _user_data("#include\nhttp://192.0.2.1/a?b=c&d=%20\n"),
    "shell script": _user_data("#!/bin/sh\nset -e\necho \"$1\" >'/tmp/a b'\n"),
    "archive": _user_data(
        "#cloud-config-archive\n- {type: text/x-shellscript, x: y}\n"
    ),
    "boothook": _user_data("#cloud-boothook\n#!/bin/sh\necho 1\n"),
    "duplicate keys": _user_data("#cloud-config\na: 1\na: 2\nb: {c: 1, c: 2}\n"),
    # LXD accepts no such cloud-init.user-data.
    "not YAML": Configuration({"user.user-data": "#cloud-config\na: [1\n\tb: }\n"}),
    "comments and numbers": _user_data("#cloud-config\n# x\nmode: 0644  # y\nz: yes\n"),
    "1 MiB": _user_data("#cloud-config\n" + "# 012345678ä\\'\"\n" * 65_536),
    "network 1": Configuration({"cloud-init.network-config": _NETWORK_1}),
    "network 2": Configuration({"user.network-config": _NETWORK_2}),
    "vendor-data": Configuration(
        {"cloud-init.vendor-data": _CLOUD_CONFIG, "user.vendor-data": "#!/bin/sh\n"}
    ),
    "both kinds of keys": Configuration(
        {
            f"{kind}.{name}": f"#cloud-config\n# {kind} {name}\n"
            for kind in ("cloud-init", "user")
            for name in ("user-data", "vendor-data")
        }
        | {"cloud-init.network-config": _NETWORK_1, "user.network-config": _NETWORK_2}
    ),
    "profile": Configuration(
        {"user.a": "of the container"},
        profile={"user.a": "of the profile", "user.p": "p", USER_DATA: _CLOUD_CONFIG},
    ),
    "slashes in keys": Configuration(
        {"user.a/b": "1", "user./": "2", "user.b": "3"},
        differences={"config: b": _has_slash("1"), "config: ": _has_slash("2")},
    ),
    "blanks in keys": Configuration({"user.a b": "1", "user. ": "2", "user.c ": "3"}),
    "non-ASCII keys": Configuration({"user.ä": "1", "user.漢": "2", "user.😀": "3"}),
    "characters of URLs in keys": Configuration(
        {
            "user.a?b": "1",
            "user.c#d": "2",
            "user.e%41": "3",
            "user.f&g=+": "4",
            "user.a": "of user.a",
            "user.c": "of user.c",
            "user.eA": "of user.eA",
        }
    ),
    "quotes in keys": Configuration(
        {"user.'a\"": "1", "user.\\b": "2", "user.[c]": "3"}
    ),
    "user. alone": Configuration({"user.": "1"}),
    "like other types": Configuration(
        {
            "user.int": "0644",
            "user.float": "1e3",
            "user.bool": "yes",
            "user.null": "~",
            "user.date": "2026-01-02",
            "user.list": "[1]",
            "user.hex": "0x1F",
            "user.sexagesimal": "12:30:45",
            "user.merge": "<<",
            "user.tag": "!!int 1",
        }
    ),
    "1000 keys": Configuration({f"user.key{n}": f"value {n}" for n in range(1000)}),
    "many devices": Configuration({}, {f"d{n}": {"type": "none"} for n in range(300)}),
    "disks": Configuration(
        {}, {"a": _disk("/mnt/a"), "b/c": _disk("/mnt/b c") | {"readonly": "true"}}
    ),
    "NICs": Configuration(
        {},
        {"eth0": _NIC, "eth1": _NIC | {"name": "lan", "hwaddr": "00:16:3e:00:00:02"}},
    ),
    "meta-data": _meta_data("location: rack 7\nlist: [1, 2]\n"),
    "meta-data without a newline": _meta_data("location: rack 7"),
    "meta-data with a comment": _meta_data("# the rack\nlocation: 7 # seven\n"),
    "meta-data with CRLF": _meta_data("location: rack 7\r\nrow: 3\r\n"),
    "meta-data with ---": _merged("---\nlocation: rack 7\n", "rack 7"),
    "meta-data in flow style": _merged(json.dumps({"location": "rack 7"}), "rack 7"),
    "meta-data, another instance-id": _meta_data("instance-id: i-1\n"),
    "meta-data, another hostname": _meta_data("local-hostname: web\n"),
    "meta-data in UTF-8": Configuration(
        {"user.meta-data": "city: Łódź ‖ 漢字\n"},
        differences={
            "config: user.meta-data": _guessed("city: Łódź ‖ 漢字\n"),
            "meta-data: city": _guessed("Łódź ‖ 漢字"),
        },
    ),
    "meta-data that is no mapping": _meta_data("rack 7\n"),
    "meta-data that is a list": _meta_data("- rack 7\n"),
}
