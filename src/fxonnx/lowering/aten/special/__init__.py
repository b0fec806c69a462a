"""Functions of mathematical physics: Bessel and Airy functions, orthogonal polynomials, incomplete gamma functions."""
