"""What every augmentation method is: parameters, what it needs, and how it turns one text into one copy."""

import random
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmark.core.validation import not_a_bool
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores

_SYMBOLS = {"alpha": "α", "beta": "β"}

Needs = Literal["nothing", "tokens", "trained", "large", "difference"]


Alpha = Annotated[float, BeforeValidator(not_a_bool), Field(ge=0, le=1)]
Beta = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]


class Training(BaseModel):
    """What a method changes in training itself; the default is training as ever.

    Attributes:
        embedding_noise: α of NEFTune: embeddings get uniform noise of up to α / √(row length × width); 0 is none.
        replaced: lowest and highest share of a text's input tokens that others stand for, the labels staying; each time
            a text is read the share is drawn between the two. The first token always stays.
        replacement: what stands for them: random tokens of the vocabulary, or one and the same mask token.
        loss: "mean" over tokens; "weighted" by the text's `values`; or "selected", the mean over the tokens of an
            effective batch whose loss exceeds their value (a reference model's loss) most. A token that no value lies
            on weighs 1, and has a reference loss of 0.
        selected: share of the tokens that "selected" keeps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_noise: float = 0.0
    replaced: tuple[float, float] = (0.0, 0.0)
    replacement: Literal["random", "mask"] = "random"
    loss: Literal["mean", "weighted", "selected"] = "mean"
    selected: float = 1.0


class Method(BaseModel):
    """A way to turn a corpus into training texts. A method's parameters are its fields.

    Attributes:
        name: what suites call the method; the registry finds it by this.
        needs: which token scores `augment_one` gets: none; the trained model's tokens, all scored 0; the trained
            model's own scores; the large model's of the pair; or the large minus the small model's, on the large
            model's tokens.
        details: which further fields of Text it needs, "subject" or "entities"; a task that does not know them is
            refused.
        welcome: which of these it makes use of where the task knows them, and does without elsewhere.
        reduction: how attention becomes scores (`received`, `released`, …), or `loss` for each token's negative
            log-likelihood in nats; None leaves that to the suite.
        matched: whether training takes the suite's number of optimizer steps. Where False it takes the same number of
            epochs as a method that makes copies, thus fewer steps.
        originals: whether the original is among the training texts, as copy 0.
        makes_copies: whether there are copies 1, 2, … beside it.
        version: part of what identifies the method's texts; raise it when the same parameters come to make others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    needs: ClassVar[Needs] = "nothing"
    details: ClassVar[frozenset[str]] = frozenset()
    welcome: ClassVar[frozenset[str]] = frozenset()
    reduction: ClassVar[str | None] = None
    matched: ClassVar[bool] = True
    originals: ClassVar[bool] = True
    makes_copies: ClassVar[bool] = True
    version: ClassVar[int] = 1

    @property
    def reads(self) -> Needs:
        """What it needs with these parameters; for most methods `needs`, whatever they are."""
        return self.needs

    def fitted(self, texts: Sequence[Text], tokens: Sequence[TokenScores] | None) -> Self:
        """The method made ready for a corpus; most look at each text by itself, and are themselves."""
        return self

    @abstractmethod
    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Make one copy of `text`, never empty; `tokens` are the text's (None where the method needs nothing)."""

    def make_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> str:
        """Make the copy of that number, 1 or higher; for most methods the number says nothing that `rng` does not."""
        return self.augment_one(text, tokens, rng)

    def values(self, text: Text, tokens: TokenScores | None) -> tuple[tuple[int, int, float], ...]:
        """Numbers on character spans of the original that `training` makes use of; most methods have none."""
        return ()

    def training(self) -> Training:
        """What changes in training itself; for most methods nothing."""
        return Training()

    def attention(self, role: str) -> AttentionPart:
        """Which part of a model's attention makes the scores; `role` is "large", "small" or "trained"."""
        return AttentionPart()

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Refuse, by a UserError, parameters that do not suit these texts or that many copies; most suit any."""

    def key_parameters(self) -> dict[str, Any]:
        """What of the parameters the texts depend on, for the keys: a file by the hash of its bytes, not its path."""
        return self.model_dump(mode="json")

    def recorded_parameters(self) -> dict[str, Any]:
        """The parameters as a record shows them to others."""
        return self.key_parameters()

    @property
    def varies(self) -> bool:
        """Whether a text's copies differ by the `rng`; where not, they are all as `augment_one` makes the first."""
        return self.makes_copies

    @property
    def uses_pair(self) -> bool:
        """Whether it looks at a pair's scores."""
        return self.reads in ("large", "difference")

    @property
    def identity(self) -> str:
        """The name, with the version from the second on: what keys hold."""
        return self.name if self.version == 1 else f"{self.name}@{self.version}"

    @property
    def label(self) -> str:
        """The board's words: "contrastive_dropout α=0.6 β=0.03"; other options stand there if not at their default."""
        fields = type(self).model_fields
        values = {symbol: getattr(self, key) for key, symbol in _SYMBOLS.items() if key in fields}
        symbols = [f"{symbol}={value}" for symbol, value in values.items() if value is not None]
        others = [f"{key}={value}" for key, value in self if key not in _SYMBOLS and value != fields[key].default]
        return " ".join([self.name, *symbols, *others])
