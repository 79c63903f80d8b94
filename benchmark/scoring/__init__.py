"""Token scores: attention received, losses, their contrast; and perplexity."""
