"""Starts tritonserver on a model repository, from PATH or from the PyPI wheel, and watches it."""
