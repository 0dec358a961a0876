"""Writing the log: as text, as JSON, or to the journal of systemd.

Each observer writes one event of ``twisted.logger`` as one record. What an event says
belongs to the packages that log it; `devlxd.logs.event_names` only names the events.
"""
