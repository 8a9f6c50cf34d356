"""Where the graphs of `make_graphs.py` are, and how far a model may be from its graph, relative to the peak."""

import pathlib

GRAPHS = pathlib.Path(__file__).parent / 'graphs'
TOLERANCE = 1e-5
