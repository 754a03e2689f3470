"""The Kinova Gen3: what an arm is, its simulated backend, the watchdog, the driver and its node."""
