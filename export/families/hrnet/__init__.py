"""HRNet and SimpleBaseline in plain PyTorch: the published variants, the networks, their checkpoints.

Papers: Deep High-Resolution Representation Learning (arXiv 1902.09212), Simple Baselines (arXiv 1804.06208). Original
code: github.com/leoxiaobin/deep-high-resolution-net.pytorch and github.com/microsoft/human-pose-estimation.pytorch,
both MIT; nothing of it is copied here, only the facts that the checkpoints fix: names, shapes and the order of
operations. The licence of the published *weights* is their publishers' to state and is not covered by ours.

`variants` needs no PyTorch; the others do.
"""
