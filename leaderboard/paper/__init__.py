"""Published numbers and claims, compared with the records.

`published` reads `paper.yaml`; `reproduction` compares the paper's numbers with records, `claims` tests its claims on
every model with records; `seal` shows SEAL's ladder (`seal.yaml`) beside records. `page` shows all in a terminal, as
Markdown and as JSON. Only this package knows published numbers.
"""
