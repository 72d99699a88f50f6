"""Speed, as ratios taken in one process on one machine: what `eostui bench` prints."""
