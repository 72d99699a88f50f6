"""Experiments of papers: what is claimed, which runs it takes, what is read off them, and what decides."""
