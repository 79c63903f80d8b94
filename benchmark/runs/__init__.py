"""Carrying out a plan: checks before the first stage, missing stages, records, and pruning afterwards.

Which stages a plan has belongs to `suite`, where they run to `executors`.
"""
