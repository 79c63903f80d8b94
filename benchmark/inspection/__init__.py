"""Looking into a pair of models: token views, and which tokens the models attend to before a fact.

Nothing here is a stage of a suite. The format of token views belongs to `data`.
"""
