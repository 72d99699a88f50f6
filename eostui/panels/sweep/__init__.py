"""What is shown of a sweep beside the comparison of its members: a row for each, and a map of two keys."""
