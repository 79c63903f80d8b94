"""How far a run is: the account of its stages, its presence in the store, its display."""
