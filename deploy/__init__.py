"""Deployment of a model repository to a cluster: images, manifests, monitoring, and the entry point of the images."""
