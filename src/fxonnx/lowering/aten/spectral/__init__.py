"""Fourier transforms, and what goes with them."""
