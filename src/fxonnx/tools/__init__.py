"""Floor 5: what people use around the compiler: the command line, explain, the reference."""
