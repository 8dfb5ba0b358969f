"""The paper's method on any model: bases, projections, decomposition, clusters, breakthroughs."""
