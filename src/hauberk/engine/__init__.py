"""The engine: what it drives, the stepping loop, and the outcome."""
