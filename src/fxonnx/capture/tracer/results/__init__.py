"""What a call returns on fake tensors: cached, probed with concrete sizes, or computed by torch."""
