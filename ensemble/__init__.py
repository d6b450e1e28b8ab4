"""The pose pipelines: steps as numpy functions, the networks between them, and the two runtimes that run them."""
