"""Linear algebra: factorizations of matrices, what they solve, and what their spectra say."""
