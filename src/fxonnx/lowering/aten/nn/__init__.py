"""What networks are built of: layers, and what stands between them."""
