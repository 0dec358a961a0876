"""How guests ask: the site and its channel, the gate, dialects, resources, answers."""
