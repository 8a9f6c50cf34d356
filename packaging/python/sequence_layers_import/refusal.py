"""The reason why a graph cannot become a model."""

import contextlib
import re
from collections.abc import Iterator

# Its kind and the temporary file, before what onnxruntime says of the graph.
_WHERE = re.compile(r'^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?')


class Refusal(Exception):
    """A node that no layer computes: which one, why, and how the graph could be imported.

    `str` gives one line.
    """

    def __init__(self, reason: str, cure: str, *, node: str = '', operator: str = ''):
        self.reason, self.cure = reason, cure
        self.node, self.operator = node, operator
        super().__init__(reason)

    def at(self, node: str, operator: str) -> 'Refusal':
        """This refusal with the name of the node, unless it already has one."""
        if self.operator:
            return self
        return Refusal(self.reason, self.cure, node=node, operator=operator)

    def __str__(self) -> str:
        where = f'{self.operator} "{self.node}": ' if self.operator else ''
        return f'{where}{self.reason}; {self.cure}'


@contextlib.contextmanager
def naming(node: str, operator: str) -> Iterator[None]:
    """Gives refusals the name of a node, unless they have one, and makes refusals of faults of the importer."""
    try:
        yield
    except Refusal as refusal:
        raise refusal.at(node, operator.removeprefix('import.')) from refusal.__cause__
    except (LookupError, TypeError, ValueError) as error:
        problem = Refusal(f'the importer fails: {error}', 'report this graph')
        raise problem.at(node, operator) from error


class SizeError(ValueError):
    """Sizes within a graph that do not fit each other, whatever the length of the sequence."""


class CannotLoad(Refusal):
    """A graph that onnxruntime does not load, perhaps for reasons that no length of a sequence changes."""

    is_at_any_length = False


def one_line(error: Exception | None) -> str:
    return ' '.join(str(error).split())


def no_bound(what: str, cure: str) -> Refusal:
    """For a value of the whole sequence that each step would need in a stream."""
    return Refusal(f'{what} goes over all of time, so that its look-ahead has no bound', cure)


def cannot_load(error: Exception | None) -> CannotLoad:
    """For an error of onnxruntime, which raises any, with a graph as it is."""
    text = _WHERE.sub('', one_line(error))[:300]
    cure = 'check the ONNX file'
    if isinstance(error, SizeError) or 'ShapeInferenceError' in text:
        cure = (
            'its exporter may have written sizes of its example into it, as it does with loops in '
            'Python and with masks: export it with an open axis'
        )
    return CannotLoad(f'onnxruntime cannot load the graph: {text}', cure)
