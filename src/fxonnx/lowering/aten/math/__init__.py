"""What computes with elements: pointwise functions, comparisons, reductions, linear algebra."""
