"""The version of the program, which records and pictures state."""

__version__ = "0.6.6"
