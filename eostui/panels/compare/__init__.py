"""Any number of runs side by side, as data: what is kept of each, their curves, charts and table."""
