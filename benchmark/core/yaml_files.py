"""Reading YAML from strangers: suites and settings. Bounded in size and depth, without duplicate keys.

PyYAML's safe loader, with a check of the parsed nodes. ruamel.yaml rejects duplicate keys itself, but not the rest, and
reads YAML 1.2, in which `yes` and `1e-3` mean something else than in the suites that exist.
"""

from pathlib import Path
from typing import Any

import yaml

from benchmark.core.errors import UserError
from benchmark.core.inputs import read_text

MAX_BYTES = 2**18  # of a file
MAX_VALUES = 50_000  # in a file; the values behind an alias count at every use
MAX_DEPTH = 32


def read_yaml(path: Path, remedy: str) -> Any:
    """The content of a YAML file.

    Args:
        path: The file.
        remedy: What to do if it cannot be read as a text file: the end of the error message.

    Raises:
        UserError: The file cannot be read, is not YAML, is too large or nested too deeply, or has a duplicate key.
    """
    return parse_yaml(read_text(path, MAX_BYTES, remedy), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The content of YAML that was read already; errors as in `read_yaml`, and their message begins with `where`."""
    try:
        return yaml.load(text, _StrictLoader)
    except _UNREADABLE as error:
        too_deep = isinstance(error, RecursionError)
        problem = "nested too deeply" if too_deep else str(error).replace('in "<unicode string>", ', "at ")
        raise UserError(f"{where}: not a readable YAML file: {problem}") from None


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader that rejects duplicate keys, where PyYAML takes the last, and content beyond the bounds."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The file's root node. All nodes are checked before a value is made from any of them."""
        root: yaml.Node | None = super().get_single_node()
        pending, count = [(root, 0)] if root else [], 0
        while pending:
            node, depth = pending.pop()
            count += 1
            if depth > MAX_DEPTH or count > MAX_VALUES:
                problem = f"more than {MAX_VALUES:,} values, or nested deeper than {MAX_DEPTH}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            if isinstance(node, yaml.ScalarNode):
                node.value.encode()  # reports a lone surrogate here rather than when the value is printed
            if isinstance(node, yaml.MappingNode):
                children = [child for pair in node.value for child in pair]
            else:
                children = node.value
            pending += [(child, depth + 1) for child in children if isinstance(child, yaml.Node)]
        return root

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer that JSON and tables can hold."""
        value: int = super().construct_yaml_int(node)
        if abs(value) >= 2**63:
            raise yaml.MarkedYAMLError(problem="an integer of more than 64 bits", problem_mark=node.start_mark)
        return value


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
# PyYAML's constructors raise these for a malformed scalar, beside PyYAML's own errors.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, ArithmeticError, RecursionError)
