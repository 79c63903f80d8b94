"""Token scores of a text under a model: received attention, losses and their contrast; and perplexity.

What methods do with scores belongs to `methods`, the format of scores to `data`.
"""
