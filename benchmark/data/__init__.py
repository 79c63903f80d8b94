"""Texts, token scores and made-up people: the data that the other rooms pass to one another."""
