# -*- test-case-name: tests.logs.test_event_names -*-
"""The names of all events that devlxd logs, which programs can rely on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: The name of each event, by the format of its line. docs/log_events.rst explains them.
EVENT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        # Start and reload
        "{check}: {result}: {detail}": "startup-check",
        "devlxd {version} starts; problems: {problems}": "started",
        "EVERY caller is treated as root of container {name} (--assume)": "assumed",
        "{dialect} guests are served at {address}": "listening",
        "cannot listen on {endpoint}; {dialect} guests are not served there": (
            "not-listening"
        ),
        "loading the containers of {directory} failed; devlxd serves those that are "
        "loaded": "loading-failed",
        "containers are loaded: {count}": "containers-loaded",
        "there is no journal at {path}: the log is written to the standard output": (
            "no-journal"
        ),
        "this kernel has no SO_PASSRIGHTS (Linux 6.16 and later have it): a guest can "
        "block this process with file descriptors that it sends along": (
            "kernel-without-passrights"
        ),
        "this kernel has no SO_PEERPIDFD (Linux 6.5 and later have it): a caller that "
        "ends before its connection is accepted may be mistaken for a later process "
        "with the same pid": "kernel-without-peerpidfd",
        "unprivileged containers cannot mount {socket}: other users may not enter "
        "{directory} (chmod o+x)": "socket-closed-to-users",
        "limits have changed: {changes}": "limits-changed",
        "the log level is {now} now": "log-level-changed",
        "restart devlxd to apply what has changed in {path}: {options}": (
            "restart-needed"
        ),
        "--config: {problem}; everything in it stays as it was": "config-fault",
        "reloading failed": "reloading-failed",
        # The operator's socket
        "operators are served at {address}": "admin-listening",
        "cannot listen on {endpoint}; operators are not served there": (
            "admin-not-listening"
        ),
        "a request of an operator failed": "admin-request-failed",
        # A socket for each container
        "{count} containers have a socket of their own in {directory}": "sockets-made",
        "{count} containers have no socket: devlxd makes at most {most}: half of its "
        "files are for connections (LimitNOFILE=)": "too-many-sockets",
        "the socket {directory}/{container}/sock cannot be made or removed: {reason}": (
            "socket-failed"
        ),
        "directories of removed containers in {directory} stay: {reason}": (
            "socket-directories-not-listed"
        ),
        "the directory {directory}/{container} of a removed container stays: there is "
        "more in it than its socket": "socket-directory-not-empty",
        "{count} sockets of containers are left to the next process": (
            "sockets-handed-over"
        ),
        "{count} sockets of containers of the last process are closed: they are not "
        "served any more": "sockets-not-continued",
        # The handover of connections
        "{count} connections are left to the next process": "connections-handed-over",
        "{count} connections cannot be handed over to the next process: {reason}": (
            "connections-not-handed-over"
        ),
        "{count} connections have too much data for the next process and are closed": (
            "connections-too-large"
        ),
        "connections cannot be handed over and are closed": "handover-failed",
        "a connection cannot be handed over and is closed": (
            "connection-not-handed-over"
        ),
        "a connection cannot be continued and is closed": "connection-not-continued",
        "connections of the last process cannot be continued": "continuing-failed",
        "systemd keeps no connections: set FileDescriptorStoreMax=": (
            "no-descriptor-store"
        ),
        "the caller of a connection of the last process could not be identified; the "
        "connection is closed": "continued-caller-not-identified",
        "{count} connections of the last process are closed, as their record cannot "
        "be read: {reason}": "handover-unreadable",
        "{count} connections of the last process are closed: they are not served any "
        "more": "connections-not-served",
        "{count} connections of the last process are closed: too many open files": (
            "connections-without-files"
        ),
        # Connections and requests
        "not in a container: {reason}": "caller-refused",
        "too many connections of {container}; a new one is closed": (
            "too-many-connections"
        ),
        "a new connection cannot be set up and is closed: {reason}": (
            "connection-not-set-up"
        ),
        "a new connection failed and is closed": "connection-failed",
        "connections cannot be accepted, retrying: {reason}": "not-accepting",
        "a peer could not be identified; its requests are refused": (
            "identification-failed"
        ),
        "an observer failed when run {run} of {container} ended; the other observers "
        "are notified": "run-observer-failed",
        "request {request!r} of {owner} failed; the client receives a 500, or its "
        "connection is closed": "request-failed",
        "a response for container {name} could not be rendered; the guest receives a "
        "500 until the container changes": "rendering-failed",
        "a stream of messages to {owner} failed; its connection is aborted": (
            "stream-failed"
        ),
        "SSH keys of container {name} cannot be added to {key}: {problem}": (
            "ssh-keys-not-added"
        ),
        "user.meta-data of container {name} is appended as it is: {problem}": (
            "meta-data-not-merged"
        ),
        # Guest states
        "the guest of {container} is {state}": "guest-state",
        "the guest of {container} is no longer ready: {reason}": "guest-not-ready",
        "the guest state of {container} was not looked up; it is Started": (
            "guest-state-lost"
        ),
        "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, and treats "
        "every guest as not ready": "guest-states-damaged",
        "{reason}; guest states are kept in memory only, devlxd tries again every "
        "{seconds:.0f} s": "guest-states-not-written",
        "{path}: guest states are written to it again": "guest-states-written",
        "an observer failed when the guest state of {container} changed; the other "
        "observers are notified": "guest-state-observer-failed",
        # Documents
        "container {container} was added": "container-added",
        "container {container} has changed: {keys}": "container-changed",
        "container {container} was removed": "container-removed",
        "cannot read container {name}, keeping its last snapshot if it has one: "
        "{problem}": "document-unreadable",
        "container {name} can be read again": "document-readable",
        "{fault}": "document-fault",
        "{path}: cannot be listed ({error.strerror}), retrying": (
            "directory-unreadable"
        ),
        "reading all documents in {path} again": "documents-reloading",
        "changes in {path} were lost, scanning all documents": "changes-lost",
        "{problem}; scanning all documents every {seconds:.0f} s instead": (
            "directory-not-watched"
        ),
        "reading container {name} failed, keeping its last snapshot if it has one": (
            "reading-failed"
        ),
        "the listener of a watched directory failed; its event is ignored": (
            "watch-listener-failed"
        ),
        "an observer failed to handle a change of container {name}": (
            "store-observer-failed"
        ),
        # Documents in etcd
        "the password of user {user} is sent to {endpoint} unencrypted; use https": (
            "etcd-unencrypted"
        ),
        "the containers are those of {source} at {endpoint}": "source-answers",
        "{source} does not answer ({problem}); its containers are served as they were "
        "{duration} ago": "source-away",
        "{source} does not answer ({problem}), and nothing is known of it; devlxd "
        "waits for it": "source-unknown",
        "{source} answers again at {endpoint}, after {duration}": (
            "source-answers-again"
        ),
        "etcd has another history than before: {reason}; devlxd takes all keys of "
        "{prefix} as they are": "etcd-other-history",
        "etcd at {endpoint} has not sent all changes of {prefix}; devlxd takes all "
        "keys as they are": "etcd-changes-lost",
        "following {prefix} of etcd failed; devlxd begins again": "etcd-failed",
        "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, and keeps "
        "the documents of etcd in a new file": "kept-documents-damaged",
        "{reason}; devlxd does not keep the documents of etcd until it is started "
        "again": "kept-documents-unusable",
        "{reason}; devlxd does not keep the documents of etcd, and tries again every "
        "{seconds:.0f} s": "kept-documents-not-written",
        "{path}: the documents of etcd are kept in it again": (
            "kept-documents-written"
        ),
        # Events
        "{error}; events are not recorded, devlxd tries again every {seconds} "
        "seconds": "events-not-recorded",
        "events are recorded again": "events-recorded",
        "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, and starts "
        "a new journal": "journal-damaged",
        "{path}: {reason}; devlxd starts a new journal": "journal-replaced",
        "cannot create the events of a change of {container}; devlxd creates them "
        "with those of its next change": "events-failed",
        "a subscriber of {container} failed; devlxd ends its subscription": (
            "subscriber-failed"
        ),
        # Images
        "image {fingerprint} is not served: {reason}": "image-not-served",
        "a download of image {fingerprint} by {container} failed; devlxd ends it: "
        "{reason}": "download-failed",
        # Other
        "the observer of the service failed in {method}; devlxd continues": (
            "service-observer-failed"
        ),
        "a turn of {owner} failed; its other turns continue": "turn-failed",
        "more lines like the last one are suppressed for {left:.0f} s": (
            "lines-suppressed"
        ),
        "{count} more lines about {kind!r} were suppressed": ("lines-were-suppressed"),
    }
)
