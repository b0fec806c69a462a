"""What makes tensors and moves their elements."""
