"""A simulated Kinova Gen3 that speaks Kortex: what URSim is to the arms of Universal Robots."""
