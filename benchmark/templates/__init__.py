"""Templates of a method, a task and a model, and the command's code that fills them in."""
