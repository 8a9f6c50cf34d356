"""The reason why a graph cannot become a model."""


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
