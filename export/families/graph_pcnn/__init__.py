"""Graph-PCNN in plain PyTorch: a heat-map network, and a second stage that refines its peaks on the skeleton's graph.

Paper: Graph-PCNN, arXiv 2007.10599 (ECCV 2020). Its authors published neither code nor weights: stage 1 is the official
HRNet or SimpleBaseline, exactly; stage 2 is written from the paper, and what the paper leaves open is chosen here
(`variants.Variant`). It has to be trained to be of any use.

`variants` needs no PyTorch; the others do.
"""
