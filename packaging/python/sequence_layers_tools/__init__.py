"""Converters into model directories of libsequence_layers, and what makes and records test models."""
