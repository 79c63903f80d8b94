"""The data that stages pass to each other: texts, token scores, token views, made-up people; and their file formats.

How scores are computed belongs to `scoring`, how a task's corpus is read to `corpora`.
"""
