"""From a model repository to a cluster: images, manifests, monitoring, and the checks of all of them."""
