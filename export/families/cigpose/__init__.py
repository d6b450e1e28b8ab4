"""CIGPose in plain PyTorch: the published variants, the network, and the graphs it reasons on.

Paper: CIGPose, arXiv 2603.09418. Original code: github.com/53mins/CIGPose, commit b7444d8 (Apache-2.0); nothing of it
is copied here, only the facts that its checkpoints fix: names, shapes, tables and constants. The licence of the
published *weights* is their publishers' to state and is not covered by ours.

`variants` and `graphs` need no PyTorch; `network` does.
"""
