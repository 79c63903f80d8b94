"""Selective loss: only tokens that the trained model finds much harder than a reference model count."""

from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Training
from benchmark.methods.plain_matched import PlainMatched
from benchmark.methods.units import units


class SelectiveLoss(PlainMatched):
    """The selective language modelling of Rho-1 (Lin et al., NeurIPS 2024), with the pair's large model as reference.

    In every effective batch, training keeps the share of tokens whose loss exceeds the reference's loss most: those
    that can be learned and are not yet. The reference of Rho-1 is trained on selected texts; here it is the large model
    as it is, and must not be the trained model itself. It reads the texts as training does: without a prefix, so the
    first token of a text has no loss. Losses are compared token by token, so both models should have the same
    tokenizer; with different ones a token gets the mean reference loss of its characters.
    """

    name: ClassVar[str] = "selective_loss"
    needs: ClassVar[Literal["large"]] = "large"
    reduction: ClassVar[str | None] = "loss"

    share: Alpha = 0.6

    def values(self, text: Text, tokens: TokenScores | None) -> tuple[tuple[int, int, float], ...]:
        """The losses of the large model."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the losses of text {text.id!r}")
        return tuple((unit.start, unit.end, unit.score) for unit in units(text, tokens))

    def training(self) -> Training:
        """The mean loss of the share of tokens whose loss exceeds the reference's most."""
        return Training(loss="selected", selected=self.share)
