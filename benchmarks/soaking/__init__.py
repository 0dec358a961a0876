"""The parts of `benchmarks.soak`: containers, their guests, and measurements.

* `report`: counts what was done, and what was wrong.
* `client`: an HTTP/1.1 and websocket client that accepts nothing malformed.
* `containers`: real containers whose processes open the connections.
* `documents`: the configuration of each container, and its history.
* `operating`: changes documents, and starts and ends runs.
* `asking`, `listening`, `misbehaviour`: what guests do.
* `watching`: what an operator's programs ask.
* `samples`: memory, descriptors and tasks of devlxd over time.
"""
