"""What newer operators and newer forms of operators are in older ones: one body each, found by `registry`."""
