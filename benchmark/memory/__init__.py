"""How much memory each stage of a suite needs on its device, predicted from configuration files: docs/memory.md.

`shape` counts the numbers in an architecture, `formulas` turns them into bytes, `questions` finds the longest prompts,
`needs` puts these together for training and inference, `predict` for a stage, and `report` for a suite. What this
machine has belongs to `doctor`.
"""
