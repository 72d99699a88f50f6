"""What is measured, one file a probe; `ProbeSet` holds those of a run."""
