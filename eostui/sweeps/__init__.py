"""Sweeps: many runs of one preset over its settings, planned, run and read as one."""
