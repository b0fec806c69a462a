"""Loops that data ends, found in runs that are told how many turns those have."""
