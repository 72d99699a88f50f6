"""The engine process: it owns torch, the device and the loop, and is a run's only writer."""
