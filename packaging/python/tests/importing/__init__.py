"""Graphs for tests of the importer."""
