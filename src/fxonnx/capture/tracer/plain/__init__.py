"""Sizes that Python made plain numbers, found again by comparing runs at several sizes."""
