"""Networks and losses: perception, GLAM, and the minimal iterative policy."""
