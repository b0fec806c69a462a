"""The aten ops, a file per family."""
