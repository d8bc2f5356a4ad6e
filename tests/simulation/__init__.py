"""The whole engine against the simulated cloud: time is virtual, and a seed decides what goes wrong and when."""
