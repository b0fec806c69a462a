"""Loops over a size, rolled up.

runs at several lengths ──steps──▶ tokens ──periods──▶ bodies and how often each runs
                              └───▶ leaves ──flow────▶ what a body carries, takes and leaves ──play──▶ one tape
"""
