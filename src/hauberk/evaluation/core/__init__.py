"""The one run that every question goes through."""
