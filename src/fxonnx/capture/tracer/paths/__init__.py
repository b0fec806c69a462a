"""All ways of a model that decides by data, joined to one graph."""
