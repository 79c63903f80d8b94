"""`benchmark plan --memory`: its options checked before torch is loaded, and what it prints."""

from benchmark.core.errors import UserError
from benchmark.suite.schema import Suite


def show_memory(suite: Suite, memory: bool, gpu: str | None, stages: bool, as_json: bool) -> None:
    """Print what each stage needs and where it fits. Raises UserError for options that do not go together."""
    if not memory:
        raise UserError("--gpu: is for --memory alone; leave it out, or add that")
    if stages:
        raise UserError("--stages: --memory looks at no weights, and so knows no stage to write; leave one of them out")
    from benchmark.executors.worker import prepare, quiet

    prepare(suite.threads)
    quiet()
    from benchmark.memory.report import told

    print(told(suite, gpu, as_json))
