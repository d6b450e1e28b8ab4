"""Everything about the manifests that can be checked without a cluster."""
