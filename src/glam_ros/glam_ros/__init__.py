"""Nodes of the deployment graph, and the graph that starts them."""
