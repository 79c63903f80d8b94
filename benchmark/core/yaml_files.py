"""YAML from anybody: suites and settings. Small, plain, every key once; what is not is told of in one line."""

from pathlib import Path
from typing import Any

import yaml

from benchmark.core.errors import UserError
from benchmark.core.inputs import read_text

MOST_BYTES = 2**18  # of a file
MOST_VALUES = 50_000  # in it, what an alias stands for counted every time
MOST_NESTED = 32


def read_yaml(path: Path, remedy: str) -> Any:
    """What a YAML file holds; raises UserError, which names it, and ends with `remedy` where it is no file to read."""
    text = read_text(path, MOST_BYTES, remedy)
    try:
        return yaml.load(text, _EveryKeyOnce)
    except _UNREADABLE as error:
        too_deep = isinstance(error, RecursionError)
        problem = "nests too deep" if too_deep else str(error).replace('in "<unicode string>", ', "at ")
        raise UserError(f"{path}: not a readable YAML file: {problem}") from None


class _EveryKeyOnce(yaml.SafeLoader):
    """YAML as ever, but a key that stands twice in a mapping is an error, where PyYAML would take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands there twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The file's nodes, counted and looked at before anything is made of them."""
        top: yaml.Node | None = super().get_single_node()
        left, count = [(top, 0)] if top else [], 0
        while left:
            node, depth = left.pop()
            count += 1
            if depth > MOST_NESTED or count > MOST_VALUES:
                problem = f"has more than {MOST_VALUES:,} values, or nests deeper than {MOST_NESTED}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            if isinstance(node, yaml.ScalarNode):
                node.value.encode()  # half a surrogate pair is an error here, and not when it is printed
            pairs = isinstance(node, yaml.MappingNode)
            inside = [one for pair in node.value for one in pair] if pairs else node.value
            left += [(one, depth + 1) for one in inside if isinstance(one, yaml.Node)]
        return top

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number that JSON and tables can hold."""
        value: int = super().construct_yaml_int(node)
        if abs(value) >= 2**63:
            raise yaml.MarkedYAMLError(problem="a whole number of more than 64 bits", problem_mark=node.start_mark)
        return value


_EveryKeyOnce.add_constructor("tag:yaml.org,2002:int", _EveryKeyOnce.construct_yaml_int)
# What PyYAML's constructors raise for a scalar that is not of its tag, beside its own errors.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, ArithmeticError, RecursionError)
