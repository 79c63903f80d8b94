"""Entity links: texts on two of the things that the document names."""

from typing import ClassVar

from benchmark.data.written import Writing
from benchmark.methods.written import WrittenMethod


class EntityLinks(WrittenMethod):
    """Texts on pairs of entities, which the writer lists first: EntiGraph (Yang et al., arXiv 2409.07431).

    The pairs of a document come in random order, and again from the first when there are more copies than pairs.
    """

    name: ClassVar[str] = "entity_links"
    asks: ClassVar[Writing] = Writing(prompts=("entity_link",), items="entities", pairs=True)
