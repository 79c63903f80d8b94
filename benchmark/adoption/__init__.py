"""Taking a trained model home: a folder with its weights and model card, and asking the model in such a folder.

Which model is chosen, and what the board says about it, comes from the caller: this room knows no board.
"""
