"""The Triton runtime: pipelines as a model repository, and the adapter that runs their steps inside the server."""
