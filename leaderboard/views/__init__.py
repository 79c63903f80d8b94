"""The board as Markdown, in a terminal, and as tables for other programs."""
