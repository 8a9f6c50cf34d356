"""This library with a state for each stream, beside one state for all of them."""

from peers import ours
from peers.rows import Row
from peers.runner import Runner


def make(row: Row, threads: int) -> Runner:
    return ours.SingleStreams(row, threads)
