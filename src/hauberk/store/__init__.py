"""Objects made into files: folders, ledgers, atomic writes."""
