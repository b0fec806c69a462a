"""aten -> IR: lowerings by family, their registry, and the importer that walks the fx graph."""
