"""How much memory every stage of a suite will need on its device, from configuration files alone: docs/memory.md.

`shape` counts an architecture's numbers, `formulas` says how many bytes are made of them, `questions` finds the longest
prompts, `predict` puts these together for a stage, and `report` for a suite.
"""
