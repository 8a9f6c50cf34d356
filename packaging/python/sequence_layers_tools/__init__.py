"""Converters into model directories of libsequence_layers, and tools that check the results."""
