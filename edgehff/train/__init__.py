"""Training: networks learn from data sets, and report as they go."""
