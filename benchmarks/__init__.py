"""Benchmarks of fxonnx beside its peers: compile time, memory, graph size, latency."""
