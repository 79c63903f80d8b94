"""Records from strangers: the checks on them, and how they get onto the board."""
