"""What is shown of a sweep beside the comparison of its members: a row for each, a map of two keys."""
