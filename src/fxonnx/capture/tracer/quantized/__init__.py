"""Models of torch.ao's eager mode, whose tensors are quantized: the numbers that those stand for, on their steps."""
