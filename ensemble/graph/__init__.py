"""The Triton models of the repository, the ensembles that wire them, and their `config.pbtxt` files."""
