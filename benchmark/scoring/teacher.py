"""A model with the document in its prompt as the teacher: which tokens it expects after each token of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.data.targets import Targets
from benchmark.data.texts import AugmentedText
from benchmark.models.special_tokens import added_tokens
from benchmark.scoring.encoding import batches, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SEPARATOR = "\n\n"  # between the document and the text
LAYOUT = 1  # version of the teacher's prompt


@dataclass(frozen=True)
class TeacherInput:
    """What the teacher reads for one text.

    Attributes:
        ids: Token ids: special tokens, document, separator, text.
        positions: For each token of the text as the student reads it, with the same special tokens before it, the
            position in `ids` after which the teacher expects the same next token.
    """

    ids: list[int]
    positions: list[int]


class TeacherPrompts:
    """Lays out what the teacher reads.

    Document, separator and text are tokenized apart, so that a text has the token ids that it has alone.

    Args:
        tokenizer: Of teacher and student.
        documents: The documents by id.
        context: Tokens that the teacher's context holds; None for no limit.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", documents: Mapping[str, str], context: int | None) -> None:
        self._tokenizer, self._documents, self._context = tokenizer, documents, context
        self._special = added_tokens(tokenizer).before
        self._separator = self._tokens(SEPARATOR)
        self._prompts: dict[str, list[int]] = {}

    def input_for(self, text: AugmentedText) -> TeacherInput:
        """What the teacher reads for a text.

        Raises:
            UserError: If document and text do not fit into the context, naming the text.
        """
        prompt, special, ids = self.prompt(text.id), len(self._special), self._tokens(text.text)
        whole = [*prompt, *ids]
        if self._context is not None and len(whole) > self._context:
            raise UserError(
                f"text {text.id!r} copy {text.copy}: {len(whole)} tokens with its document before it, more than the "
                f"model's context of {self._context}; shorten the document or the texts (max_tokens of the writer), or "
                "leave the method out"
            )
        # The student's last special token predicts the first token of the text, as the end of the prompt does.
        before = [*range(special - 1), len(prompt) - 1] if special else []
        return TeacherInput(whole, [*before, *range(len(prompt), len(whole))])

    def prompt(self, document: str) -> list[int]:
        """Token ids of what stands before the texts on a document, given its id."""
        if document not in self._prompts:
            self._prompts[document] = [*self._special, *self._tokens(self._documents[document]), *self._separator]
        return self._prompts[document]

    def _tokens(self, text: str) -> list[int]:
        # A tokenizer.json may switch on truncation or padding, which would cut texts without a word.
        encoded = self._tokenizer(text, truncation=False, padding=False, verbose=False)
        ids: list[int] = encoded["input_ids"]
        return ids[len(self._special) :]


def check_documents(
    tokenizer: "PreTrainedTokenizerFast", documents: Mapping[str, str], context: int | None, model: str
) -> None:
    """Raise UserError if a document leaves no room for a text in the teacher's context, naming the document."""
    prompts = TeacherPrompts(tokenizer, documents, context)
    for name in documents:
        if context is not None and len(prompts.prompt(name)) >= context:
            raise UserError(
                f"model {model!r}: text {name!r}: {len(prompts.prompt(name))} tokens as a prompt, which leaves no "
                f"room for a text after it in the model's context of {context}; shorten it, or leave "
                "context_distillation out"
            )


def teacher_targets(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    documents: Mapping[str, str],
    texts: Sequence[AugmentedText],
    top: int,
    tokens_per_batch: int = 4096,
    progress: Progress = lambda *steps: None,
) -> list[Targets]:
    """What a model expects after each token of each text, with the text's document before it.

    Args:
        model: The teacher, a causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        documents: The documents by id.
        texts: The texts; each stands after the document with its id.
        top: Tokens that are kept at each position; all if the vocabulary has fewer.
        tokens_per_batch: Most tokens of a batch, padding included; a longer prompt has a batch of its own.
        progress: Called after each batch with the texts done, all texts, and the tokens read.

    Returns:
        The targets of each text, in the order of `texts`.

    Raises:
        UserError: If document and text do not fit into the model's context, or a probability is not a number.
    """
    import torch

    from benchmark.models.forward_checks import padding_is_harmless
    from benchmark.models.loading import context_of
    from benchmark.scoring.losses import TokenLosses

    prompts = TeacherPrompts(tokenizer, documents, context_of(model.config))
    inputs = [prompts.input_for(text) for text in texts]
    found: dict[int, Targets] = {}
    tokens_read = 0
    with torch.inference_mode(), TokenLosses(model) as reader:
        padded = padding_is_harmless(model)
        for batch in batches([len(of_text.ids) for of_text in inputs], tokens_per_batch, padded):
            ids, mask = pad([inputs[number].ids for number in batch])
            decoder: Any = reader.decoder
            decoder(input_ids=ids.to(decoder.device), attention_mask=mask.to(decoder.device), use_cache=False)
            likeliest = reader.likeliest([inputs[number].positions for number in batch], top)
            for number, (tokens, log_probs) in zip(batch, likeliest, strict=True):
                if log_probs.isnan().any():
                    raise UserError(
                        f"text {texts[number].id!r}: its probabilities are not numbers; the model overflows in "
                        f"{decoder.dtype}, load it in bfloat16 or float32"
                    )
                found[number] = Targets(tokens.int().cpu().numpy(), log_probs.cpu().numpy())
            tokens_read += sum(len(inputs[number].ids) for number in batch)
            progress(len(found), len(texts), tokens_read)
    return [found[number] for number in range(len(texts))]
