"""Runs that are damaged: what of them is sound, and a sound copy of that."""
