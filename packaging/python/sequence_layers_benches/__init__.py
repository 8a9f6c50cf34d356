"""Benchmarks, and comparisons with other runtimes and with the JAX reference."""
