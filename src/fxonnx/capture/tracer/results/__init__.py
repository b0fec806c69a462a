"""What a call returns on fake tensors: remembered, probed with plain sizes, or asked of torch."""
