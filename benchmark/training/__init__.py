"""What the train stage is made of: rows of a batch, what methods change, the loop, checkpoints to go on from."""
