"""Code of a user that a setting names as "file.py:Name"."""
