"""How fast the served pipeline is, and compared with what: load tests, comparisons, result files, report."""
