"""What training does when memory runs out: it halves the micro-batch and doubles the accumulation of gradients.

On a CPU no error says so: the system ends the process. There the micro-batch is lowered beforehand if texts are long.
"""

from benchmark.training.recipe import Recipe

CPU_TOKENS = 4096  # of a micro-batch: 14 GB were not enough for 28,000 of them with a model of 0.1B in float32


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that memory ran out. torch has its own class for that on a GPU only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return "allocate memory" in str(error)


def smaller_micro_batch(micro_batch: int, batch: int) -> int:
    """The next micro-batch to try: the largest divisor of `batch` that is at most half of `micro_batch`, at least 2."""
    while micro_batch > 1 and batch % (micro_batch // 2):
        micro_batch -= 1
    return micro_batch // 2


def micro_batches(recipe: Recipe) -> list[int]:
    """All micro-batches that training tries, the largest first."""
    sizes = [recipe.micro_batch or recipe.batch_size]
    while sizes[-1] > 1:
        sizes.append(smaller_micro_batch(sizes[-1], recipe.batch_size))
    return sizes


def first_micro_batch(recipe: Recipe, longest: int, device: str) -> int:
    """The micro-batch to begin with, which `CPU_TOKENS` limits on a CPU unless the recipe names one.

    Args:
        recipe: The recipe.
        longest: Tokens of the longest text.
        device: "cpu" or "cuda".
    """
    sizes = micro_batches(recipe)
    if device != "cpu" or recipe.micro_batch is not None:
        return sizes[0]
    return next((size for size in sizes if size * longest <= CPU_TOKENS), 1)
