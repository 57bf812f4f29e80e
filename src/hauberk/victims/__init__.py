"""The model under attack."""
