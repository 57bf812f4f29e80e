"""Processes and devices: where work is done, and how several processes share it."""
