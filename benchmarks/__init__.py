"""Speed of the served pipeline: load tests, comparisons, stage times, capacity, and their result files."""
