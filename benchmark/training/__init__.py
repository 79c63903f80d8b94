"""What the train stage is made of: batches, the objective, the training loop, LoRA, checkpoints.

The stage itself belongs to `stages`, what a method changes in training to `methods`.
"""
