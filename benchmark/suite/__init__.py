"""From a suite file to a plan: the schema, the grid of cells, the choice among them, retention."""
