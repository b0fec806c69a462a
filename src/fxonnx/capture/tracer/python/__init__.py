"""What Python's and NumPy's own functions answer for sizes: numbers that keep their expression."""
