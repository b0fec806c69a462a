"""What forward leaves in Python: told, put back, and asked whether the next call depends on it."""
