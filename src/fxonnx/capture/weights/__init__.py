"""Which tensors stand for a model's weights: its own, those of a state dict, those in files."""
