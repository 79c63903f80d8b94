"""Getting a model and its tokenizer from a model spec, and checking both before their first number.

What is computed with a model belongs to `scoring`, `training` and `evaluation`.
"""
