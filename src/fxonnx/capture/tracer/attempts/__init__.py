"""Runs of a model, what is wrong with them, and the remedies.

Sizes are primes first, at which nothing comes out right by accident; a model that cannot take those surely takes the
example's own.
"""
