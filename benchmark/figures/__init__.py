"""The paper's Figures 1, 2 and 3 (arXiv 2409.17954) for any suite or pair: numbers first, then the charts of them."""
