"""Run directories: the durable record of a run. One process writes it, everyone else reads it."""
