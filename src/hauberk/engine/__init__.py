"""The engine: victim, stepping loop, outcome, random numbers."""
