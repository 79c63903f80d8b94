"""The base class of all methods: parameters, the scores they need, and how they make a copy of a text."""

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmark.core.validation import not_a_bool
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.data.written import Writing, WrittenText

_SYMBOLS = {"alpha": "α", "beta": "β"}

Needs = Literal["nothing", "tokens", "trained", "large", "difference"]


Alpha = Annotated[float, BeforeValidator(not_a_bool), Field(ge=0, le=1)]
Beta = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]


class Practice(BaseModel):
    """Texts on other subjects that training reads beside the corpus.

    Attributes:
        source: "questions" for the made-up people of `recipe.rehearsal`, or the path of a file (`read_plain_texts`).
        share: Share of the texts read; where the recipe rehearses, of those read beside the rehearsal.
        order: "mixed" into every batch, or all of it "first".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    share: float
    order: Literal["mixed", "first"]


class Training(BaseModel):
    """What a method changes in training itself; by default nothing.

    Attributes:
        embedding_noise: α of NEFTune: embeddings get uniform noise of up to α / √(row length × width); 0 means none.
        replaced: The lowest and the highest share of a text's input tokens that are replaced; the labels stay. The
            share is drawn between the two each time a text is read. The first token always stays.
        replacement: By what they are replaced: random tokens of the vocabulary, or always the same mask token.
        loss: "mean" over tokens; "weighted" by the text's `values`; or "selected", the mean over those tokens of an
            effective batch whose loss exceeds their value (the loss of a reference model) most. A token without a value
            has weight 1 or reference loss 0. "distilled": the mean over tokens of the cross-entropy with a teacher's
            probabilities. The teacher is the model before training with the document in its prompt (stage `teach`).
        selected: The share of tokens that "selected" keeps.
        top: The number of tokens at each position whose probabilities the teacher of "distilled" gives.
        temperature: What divides the teacher's logits; below 1 its targets are sharper.
        hidden: Whether the mask token replaces the input tokens on a text's `hidden` characters; the labels stay. The
            first token always stays.
        practice: Texts on other subjects that take a share of the budget; None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_noise: float = 0.0
    replaced: tuple[float, float] = (0.0, 0.0)
    replacement: Literal["random", "mask"] = "random"
    loss: Literal["mean", "weighted", "selected", "distilled"] = "mean"
    selected: float = 1.0
    top: int = 20
    temperature: float = 1.0
    hidden: bool = False
    practice: Practice | None = None


class Method(BaseModel):
    """A way to turn a corpus into training texts. The parameters of a method are its fields.

    Attributes:
        name: The method's name in suites and in the registry.
        needs: The token scores that `augment_one` gets. "nothing": none. "tokens": the trained model's tokens, all with
            score 0. "trained": the trained model's scores. "large": the scores of the pair's large model. "difference":
            the large minus the small model's scores, on the large model's tokens.
        details: Fields of Text beside the text itself that it needs: "subject" or "entities". A suite with a task that
            does not provide them is refused.
        welcome: Such fields that it uses where a task provides them, and does without elsewhere.
        reduction: How attention becomes scores (`received`, `released`, …), or `loss` for each token's negative
            log-likelihood in nats. None leaves the choice to the suite.
        matched: Whether it trains for the suite's number of optimizer steps. If False it trains for the number of
            epochs of a method with copies, and so for fewer steps.
        originals: Whether the original is among the training texts, as copy 0.
        makes_copies: Whether it makes copies 1, 2, … of a text.
        version: Version of the texts, and a part of keys. Raise it when the same parameters give other texts.
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
        """The token scores that it needs with these parameters; for most methods `needs`, whatever they are."""
        return self.needs

    @property
    def writings(self) -> Mapping[str, Writing]:
        """What a writer is asked to write for it, by the role of the stage; for most methods nothing."""
        return {}

    @property
    def written_by(self) -> str | None:
        """The suite's name of its writer; None if it needs none."""
        return None

    def with_written(self, written: Mapping[str, Sequence[WrittenText]]) -> Self:
        """The method with the texts that were written for it, by the roles of `writings`."""
        return self

    def has_copy(self, text: Text, number: int) -> bool:
        """Whether there is a copy `number` of `text`: no, if a writer gave no answer that could be used."""
        return True

    def fitted(self, texts: Sequence[Text], tokens: Sequence[TokenScores] | None) -> Self:
        """The method adapted to a corpus. Most methods treat each text by itself and return themselves."""
        return self

    @abstractmethod
    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Make a copy of `text`, never empty; `tokens` are its token scores, None if the method needs nothing."""

    def make_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> str:
        """Make copy `number` (1, 2, …) of `text`. For most methods copies differ by `rng` only."""
        return self.augment_one(text, tokens, rng)

    def training_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> AugmentedText:
        """Copy `number` as training reads it; for most methods the text of `make_copy`, nothing hidden or weighed."""
        return AugmentedText(text.id, number, self.make_copy(text, tokens, rng, number))

    def values(self, text: Text, tokens: TokenScores | None) -> tuple[tuple[int, int, float], ...]:
        """Numbers (start, end, value) on character spans of the original, for the loss of `training`; usually none."""
        return ()

    def longest_copies(self, text: str) -> tuple[str, ...]:
        """If copies may be much longer than `text`: examples of the longest, to check contexts and predict memory."""
        return ()

    def training(self) -> Training:
        """The method's changes to training itself; for most methods none."""
        return Training()

    def attention(self, role: str) -> AttentionPart:
        """The part of a model's attention that makes the scores; `role` is "large", "small" or "trained"."""
        return AttentionPart()

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Raise UserError if the parameters do not fit these texts or the number of copies."""

    def key_parameters(self) -> dict[str, Any]:
        """The parameters as keys hold them: for a file the hash of its bytes instead of its path."""
        return self.model_dump(mode="json")

    def recorded_parameters(self) -> dict[str, Any]:
        """The parameters as records hold them."""
        return self.key_parameters()

    @property
    def varies(self) -> bool:
        """Whether the copies of a text differ by `rng`; if not, all copies are the same."""
        return self.makes_copies

    @property
    def uses_pair(self) -> bool:
        """Whether it needs the scores of a pair."""
        return self.reads in ("large", "difference")

    @property
    def identity(self) -> str:
        """The name as keys hold it, with the version from version 2 on."""
        return self.name if self.version == 1 else f"{self.name}@{self.version}"

    @property
    def label(self) -> str:
        """The method on the board: "contrastive_dropout α=0.6 β=0.03", with options that are not the default."""
        fields = type(self).model_fields
        values = {key: getattr(self, key) for key in fields}  # without cached properties, which `vars` would list
        symbols = [f"{sign}={values[key]}" for key, sign in _SYMBOLS.items() if values.get(key) is not None]
        others = [f"{k}={v}" for k, v in values.items() if k not in _SYMBOLS and v != fields[k].default]
        return " ".join([self.name, *symbols, *others])
