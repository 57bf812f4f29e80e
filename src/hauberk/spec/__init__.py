"""Text and mappings made into objects."""
