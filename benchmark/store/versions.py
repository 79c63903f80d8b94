"""The stages' versions, a part of every key: raise one when the same inputs come to give something else."""

VERSIONS = {
    "corpus": 1, "score": 2, "augment": 1, "facts": 1, "train": 2, "evaluate": 2, "curve": 2, "retain": 1,
}  # fmt: skip
GO_ON = {"train"}  # stages that go on where they were cut off
