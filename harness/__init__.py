"""Real servers, processes and a stand-in for the gateway: what tests and benchmarks start."""
