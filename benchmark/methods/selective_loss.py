"""Loss on the tokens that a large model finds easier than the trained one does."""

from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Training
from benchmark.methods.dropout import units
from benchmark.methods.plain_matched import PlainMatched


class SelectiveLoss(PlainMatched):
    """The selective language modelling of Rho-1 (Lin et al., NeurIPS 2024), with the pair's large model as reference.

    Of every effective batch, training keeps the share of the tokens whose loss exceeds the reference's most: what can
    be learned and is not yet. The reference of Rho-1 is trained on chosen texts; here it is the large model as it is,
    which has to be another than the trained one. It reads the texts as training does: without a prefix, and a first
    token that nothing stands before has no loss.
    Losses are compared token by token, so both models should have one tokenizer; else a token gets the mean reference
    loss on its characters.
    """

    name: ClassVar[str] = "selective_loss"
    needs: ClassVar[Literal["large"]] = "large"
    reduction: ClassVar[str | None] = "loss"

    share: Alpha = 0.6

    def values(self, text: Text, tokens: TokenScores | None) -> tuple[tuple[int, int, float], ...]:
        """The large model's losses."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the losses of text {text.id!r}")
        return tuple((unit.start, unit.end, unit.score) for unit in units(text, tokens))

    def training(self) -> Training:
        """The mean loss of the share of tokens with the highest excess."""
        return Training(loss="selected", selected=self.share)
