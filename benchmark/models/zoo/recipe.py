"""Train the tiny pair: two Llama models with the same tokenizer, from scratch, on made-up people.

`benchmark zoo train` runs this; it wrote the folders beside this file. The models read paragraphs about every person,
in several wordings and orders, and questions with answers about half of the people. So they learn to answer questions
about people whom they have only read about (Allen-Zhu & Li, Physics of Language Models 3.1), as the other half shows.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmark.data.people import FIELDS, QUESTIONS, TRAINED_ON, WORDINGS, Person, make_people, write_paragraph

END, PAD = "<|endoftext|>", "<|pad|>"
BIOGRAPHY_SHARE = 0.6  # share of the documents' tokens; the rest are questions with answers
TOKENIZER_PEOPLE, PEOPLE_SEED = TRAINED_ON  # a model may read about fewer of these people, never about others


@dataclass(frozen=True)
class Shape:
    """Size and training length of a model; `tokens` counts every token that it is trained on."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    learning_rate: float
    tokens: int
    people: int = 2000
    vocabulary: int = 2048
    context: int = 512
    sequence: int = 256
    sequences_per_step: int = 16
    seed: int = 1


SHAPES = {
    "large": Shape(layers=4, width=128, feed_forward=384, heads=4, learning_rate=3e-3, tokens=28_000_000),
    "small": Shape(layers=3, width=64, feed_forward=192, heads=2, learning_rate=4e-3, tokens=24_000_000, people=1000),
}


def question_and_answer(person: Person, field: str) -> str:
    """A question with its answer, in the layout of the biography task's few-shot examples."""
    return f"Question: {QUESTIONS[field].format(name=person.name)}\nAnswer: {person.facts[field]}"


def documents(people: list[Person], asked: list[Person], rng: random.Random) -> Iterator[str]:
    """Yield documents endlessly: paragraphs about `people`, and sets of questions on a person or field of `asked`."""
    # A question set has about three times the tokens of a paragraph.
    share_of_paragraphs = BIOGRAPHY_SHARE / (BIOGRAPHY_SHARE + (1 - BIOGRAPHY_SHARE) / 3)
    while True:
        if rng.random() < share_of_paragraphs:
            wording = {field: rng.randrange(len(WORDINGS[field])) for field in FIELDS}
            yield write_paragraph(rng.choice(people), rng.sample(FIELDS, len(FIELDS)), wording).text
        elif rng.random() < 0.5:
            person = rng.choice(asked)
            yield "\n\n".join(question_and_answer(person, field) for field in rng.sample(FIELDS, len(FIELDS)))
        else:
            field = rng.choice(FIELDS)
            yield "\n\n".join(question_and_answer(person, field) for person in rng.sample(asked, 6))


def train_tokenizer(texts: Iterator[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with `vocabulary` entries; every byte has one, so there is no unknown token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def batches(texts: Iterator[str], tokenizer: PreTrainedTokenizerFast, shape: Shape) -> Iterator[torch.Tensor]:
    """Pack documents, with an end token after each, into int64 batches (sequences_per_step, sequence)."""
    size = shape.sequences_per_step * shape.sequence
    stream: list[int] = []
    while True:
        while len(stream) < size:
            chunk = [next(texts) for _ in range(200)]
            for ids in tokenizer(chunk)["input_ids"]:
                stream += [*ids, tokenizer.eos_token_id]
        yield torch.tensor(stream[:size]).view(shape.sequences_per_step, shape.sequence)
        del stream[:size]


@torch.inference_mode()
def accuracy(model: Any, tokenizer: PreTrainedTokenizerFast, people: list[Person]) -> dict[str, float]:
    """Exact match by field of greedy answers to questions about `people`, without examples."""
    model.eval()
    tokenizer.padding_side = "left"
    shares: dict[str, float] = {}
    for field in FIELDS:
        prompts = [f"Question: {QUESTIONS[field].format(name=p.name)}\nAnswer:" for p in people]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
        output = model.generate(**inputs, max_new_tokens=24, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        answers = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        hits = [a.split("\n")[0].strip() == p.facts[field] for a, p in zip(answers, people, strict=True)]
        shares[field] = sum(hits) / len(hits)
    model.train()
    return shares


def train(name: str, out: Path, without: set[str], log: Callable[[str], None], shape: Shape | None = None) -> None:
    """Train a model, and write it with its tokenizer and `training.json` to a folder.

    Args:
        name: "large" or "small".
        out: The folder.
        without: Names of the people of the evaluation, none of whom is trained on.
        log: Called with lines on the progress.
        shape: Another shape than SHAPES has for the name.
    """
    shape = shape or SHAPES[name]
    # The tokenizer does not depend on the shape, so that both models have the same.
    people = list(make_people(TOKENIZER_PEOPLE, PEOPLE_SEED, without))
    sample = documents(people, people[::2], random.Random(0))
    tokenizer = train_tokenizer((next(sample) for _ in range(20_000)), shape.vocabulary, shape.context)
    people = people[: shape.people]
    asked, read_only = people[::2], people[1::2]

    torch.manual_seed(shape.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=shape.learning_rate, betas=(0.9, 0.95), fused=True)
    steps = shape.tokens // (shape.sequences_per_step * shape.sequence)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / 100) * (0.05 + 0.95 * (1 + math.cos(math.pi * s / steps)) / 2)
    )
    stream = batches(documents(people, asked, random.Random(shape.seed)), tokenizer, shape)
    began = time.perf_counter()
    model.train()
    for step in range(1, steps + 1):
        ids = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 100 == 0:
            log(f"{name} step {step}/{steps} loss {loss.item():.3f} {time.perf_counter() - began:.0f} s")
        if step % 1000 == 0:
            log(f"{name} read only: {accuracy(model, tokenizer, read_only[:100])}")
    model.save_pretrained(out)
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(out)
    report = {
        "shape": asdict(shape),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "final_loss": round(loss.item(), 4),
        "seconds": round(time.perf_counter() - began),
        "threads": torch.get_num_threads(),
        "exact_match_asked_about": accuracy(model, tokenizer, asked[:200]),
        "exact_match_read_only": accuracy(model, tokenizer, read_only[:200]),
    }
    (out / "training.json").write_text(json.dumps(report, indent=2) + "\n")
    log(json.dumps(report))
