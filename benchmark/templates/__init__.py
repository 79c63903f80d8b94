"""Templates of a new method, task or model, and the code that fills them in."""
