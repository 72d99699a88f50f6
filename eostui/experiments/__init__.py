"""Experiments of papers: what is claimed, which runs show it, what is read, and what decides."""
