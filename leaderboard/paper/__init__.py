"""The paper's published numbers and claims, compared with the records.

`published` reads `paper.yaml`; `reproduction` compares the paper's numbers with records, `claims` tests its claims on
every model with records; `page` shows both in a terminal, as Markdown and as JSON. Only this package knows the paper's
numbers.
"""
