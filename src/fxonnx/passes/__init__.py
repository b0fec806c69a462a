"""Graph -> Graph: optimization and legalization."""
