"""Capture by torch.export: the strategy, and the reading of its graph and of its record of sizes."""
