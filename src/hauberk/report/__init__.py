"""Pictures and words about runs: pure functions of their summaries and ledgers."""

from hauberk.report.tables.accuracy import compare, print_comparison, print_table, table

__all__ = ["compare", "print_comparison", "print_table", "table"]
