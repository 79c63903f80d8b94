"""Show on a model what the paper's released code computes, and how this differs from the paper's text.

    python -m scripts.released_code zoo:large --small zoo:small
    python -m scripts.released_code PATH_OR_ID --small-without 5 7 9

In the second command, the small model is the same model without these layers. The formulas are those of
tsinghua-msiip/contrasting_attention, commit 283ad69, as this project reads it: the reduction `released` and the methods
`released_random`, `released_attention` and `released_difference`. docs/released_code.md says what follows from them.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.data.texts import Text, TokenScores, read_texts
from benchmark.methods import augment, make_method
from benchmark.methods.units import PUNCTUATION, units
from benchmark.models.spec import ModelSpec
from benchmark.tasks.biography import biography

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NEW_TOKENS = 10  # tokens that the released evaluation generates
BATCH = 8  # prompts that it answers at once
DTYPES = ("float32", "bfloat16")
Row = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """Scores of every text from a model in a precision.

    Attributes:
        released: Scores by the formula of the released code.
        received: Scores by the formula of the paper.
        deviation: The largest relative deviation of a released score from 1/(i + 1), where i counts tokens from 0, with
            those that the tokenizer adds.
    """

    released: list[TokenScores]
    received: list[TokenScores]
    deviation: float


def scored(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text], prefix: str
) -> Scored:
    """Score texts one by one, as the released code does, with both formulas."""
    from benchmark.scoring.scores import score_texts

    one_by_one = {"prefix": prefix, "tokens_per_batch": 1}
    return Scored(
        score_texts(model, tokenizer, texts, "released", **one_by_one),  # type: ignore[arg-type]
        score_texts(model, tokenizer, texts, "received", **one_by_one),  # type: ignore[arg-type]
        max(_deviation(model, tokenizer(prefix + text.text)["input_ids"]) for text in texts),
    )


def _deviation(model: "PreTrainedModel", ids: list[int]) -> float:
    """The largest relative deviation of a released score from 1/(i + 1), see `Scored`."""
    import torch

    from benchmark.scoring.attention import ReceivedAttention

    with torch.inference_mode(), ReceivedAttention(model, "released") as attention:
        row = torch.tensor([ids], device=attention.decoder.device)
        attention.decoder(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False)
        score = attention.scores()[0].double().cpu().numpy()
    return float(np.abs(score * np.arange(1, len(ids) + 1) - 1).max())


def attention_row(scores: Scored) -> Row:
    """How a token's released score correlates with its position, and with the attention that it receives."""
    return {
        "largest deviation from 1/(i+1)": scores.deviation,
        "rank correlation with position": _mean(
            rank_correlation(text.score, range(len(text.score))) for text in scores.released
        ),
        "rank correlation with received attention": _mean(
            rank_correlation(released.score, received.score)
            for released, received in zip(scores.released, scores.received, strict=True)
        ),
    }


def difference_row(large: Scored, small: Scored) -> Row:
    """Large minus small under the released formula, beside the contrast that the paper describes."""
    from benchmark.scoring.contrast import contrast

    released = [text.score for text in contrast(large.released, small.released)]
    received = [text.score for text in contrast(large.received, small.received)]
    sizes, paper_sizes = np.abs(np.concatenate(released)), np.abs(np.concatenate(received))
    return {
        "mean size": float(sizes.mean()),
        "median size": float(np.median(sizes)),
        "mean size, paper": float(paper_sizes.mean()),
        "median size, paper": float(np.median(paper_sizes)),
        "exactly 0": float((sizes == 0).mean()),
        "rank correlation with the paper": _mean(
            rank_correlation(a, b) for a, b in zip(released, received, strict=True)
        ),
        "rank correlation with position": _mean(rank_correlation(text, range(len(text))) for text in released),
        "texts where all are equal": sum(len(set(text)) == 1 for text in released),
    }


def kept_row(tokens: Sequence[TokenScores], texts: Sequence[Text], method: str, alpha: float, copies: int) -> Row:
    """The share of tokens, punctuation aside, that random dropout with α keeps."""
    augmented = augment(make_method(method, {"alpha": alpha, "dropped": "blank"}), texts, tokens, copies, seed=1)
    units_by_text = {text.id: units(text, token) for text, token in zip(texts, tokens, strict=True)}
    total = kept = 0
    for row in augmented:
        original = next(text.text for text in texts if text.id == row.id)
        for unit in units_by_text[row.id]:
            surface = original[unit.start : unit.end]
            if row.copy and surface.strip() and surface.strip() not in PUNCTUATION:
                total += 1
                kept += row.text[unit.start : unit.end] == surface
    return {"method": method, "alpha": alpha, "tokens": total, "kept": kept / total}


def blanks_row(
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Sequence[TokenScores],
    texts: Sequence[Text],
    method: str,
    parameters: Row,
    copies: int,
) -> Row:
    """Number of tokens in a method's training texts, and the share of tokens that are white space alone."""
    augmented = list(augment(make_method(method, parameters), texts, tokens, copies, seed=1))
    lengths, blank = [], 0
    for row in augmented:
        offsets = tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        lengths.append(len(offsets))
        blank += sum(not row.text[start:end].strip() for start, end in offsets)
    return {
        "method": method,
        **parameters,
        "training texts": len(augmented),
        "tokens per text": sum(lengths) / len(augmented),
        "white space": blank / sum(lengths),
        "tokens to train on": sum(lengths),
    }


def answer_rows(tokenizer: "PreTrainedTokenizerBase", people: Sequence[Any], limit: int = NEW_TOKENS) -> list[Row]:
    """Length of the gold answers in tokens, and the share of them longer than `limit`, by field."""
    rows = []
    for field in biography.FIELDS:
        lengths = [len(tokenizer(f" {p['facts'][field]}", add_special_tokens=False)["input_ids"]) for p in people]
        cut = sum(length > limit for length in lengths) / len(lengths)
        rows.append({"field": field, "mean tokens": statistics.mean(lengths), "most": max(lengths), "cut off": cut})
    return rows


def padding_row(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[str]) -> Row:
    """How many continuations of left-padded prompts change if the model has no mask for the padding."""
    import torch

    pad = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
    rows = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    changed = padded = 0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch], device=model.device)
        with_mask, without_mask = (
            model.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=given_mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=pad
            )[:, longest:]
            for given_mask in (mask, torch.ones_like(mask))
        )
        padded += sum(len(row) < longest for row in batch)
        changed += sum(_up_to_end(a, pad) != _up_to_end(b, pad) for a, b in zip(with_mask, without_mask, strict=True))
    return {"prompts": len(rows), "padded": padded, "continuations changed": changed}


def _up_to_end(row: Any, pad: int) -> list[int]:
    """The tokens of a row before its first end token."""
    return list(itertools.takewhile(lambda token: token != pad, row.tolist()))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, where equal values have the mean of their ranks; None if all of a side are equal."""
    x, y = (_ranks(side) for side in (a, b))
    if x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    """Ranks from 1; equal values have the mean of their ranks."""
    _, index, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def _mean(values: Any) -> float | None:
    """The mean of the values that are not None; None if there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def prompts_of(people: Sequence[Any], path: Path | None, count: int) -> list[str]:
    """Questions after five examples each, with alternating fields and random examples, so that their lengths differ."""
    wordings, shots, rng = biography.read_prompts(path), biography.read_shots(path), random.Random(1)
    prompts = []
    for number, person in enumerate(people[:count]):
        field = biography.FIELDS[number % len(biography.FIELDS)]
        examples = [
            f"{wordings[field].format(name=shot['name'])} {shot['facts'][field]}"
            for shot in rng.sample(shots, min(5, len(shots)))
        ]
        prompts.append("\n\n".join([*examples, wordings[field].format(name=person["name"])]))
    return prompts


def examine(given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, list[Row]]:
    """All tables for the model, by the keys of TITLES."""
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.scoring.encoding import unscored_tokens
    from benchmark.suite.plan import find_device

    try:
        people = biography.read_people(given.biographies)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    texts = read_texts(given.texts) if given.texts else [Text(p["id"], p["text"]) for p in people]
    texts = texts[: given.count]
    device = find_device(given.device)
    tables, contrasted = _contrast(given, texts, device, say)
    spec = ModelSpec(model=given.model, dtype="float32")
    tokenizer = tokenizer_of(spec)
    tokens = unscored_tokens(tokenizer, texts)
    say("dropout")
    names, alpha = ("random_dropout", "released_random"), {"alpha": given.alpha}
    tables["random"] = [kept_row(tokens, texts, name, given.alpha, given.copies) for name in names]
    methods: list[tuple[str, Row, Sequence[TokenScores]]] = [("plain", {}, tokens)]
    methods += [(name, {**alpha, "dropped": how}, tokens) for name in names for how in ("delete", "blank")]
    dropped = {"contrastive_dropout": "delete", "released_difference": "blank"}
    methods += [
        (name, {**alpha, "beta": given.beta, "dropped": dropped[name]}, contrasted[name]) for name in contrasted
    ]
    tables["blanks"] = [
        blanks_row(tokenizer, scores, texts, name, parameters, given.copies) for name, parameters, scores in methods
    ]
    tables["answers"] = answer_rows(tokenizer, people)
    say("padding")
    prompts = prompts_of(people, given.biographies, given.prompts)
    tables["padding"] = [padding_row(load_model(spec, device), tokenizer, prompts)]
    return tables


def _contrast(
    given: argparse.Namespace, texts: Sequence[Text], device: str, say: Callable[[str], None]
) -> tuple[dict[str, list[Row]], dict[str, list[TokenScores]]]:
    """The tables on scores; and, by method, large minus small in the last precision, empty without a small model."""
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.scoring.contrast import contrast

    tables: dict[str, list[Row]] = {"attention": [], "difference": []}
    small = given.small or (given.model if given.small_without else None)
    contrasted = {}
    for dtype in given.dtypes:
        specs = {"large": ModelSpec(model=given.model, dtype=dtype)}
        if small:
            specs["small"] = ModelSpec(model=small, dtype=dtype, skip_layers=given.small_without or [])
        both = {}
        for role, spec in specs.items():
            say(f"{role} model in {dtype}: {len(texts)} texts")
            both[role] = scored(load_model(spec, device), tokenizer_of(spec), texts, given.prefix)
            tables["attention"].append({"model": role, "dtype": dtype, **attention_row(both[role])})
        if small:
            tables["difference"].append({"dtype": dtype, **difference_row(both["large"], both["small"])})
            contrasted = {
                "contrastive_dropout": contrast(both["large"].received, both["small"].received),
                "released_difference": contrast(both["large"].released, both["small"].released),
            }
    return tables, contrasted


TITLES = {
    "attention": "Score of a token: as released, 1/(i+1) whatever the model and the text",
    "difference": "Large minus small: as released, rounding noise",
    "random": "Random dropout with α: as released, α is the share that is kept",
    "blanks": "What is dropped becomes spaces: tokens that no method asked for",
    "answers": f"{NEW_TOKENS} new tokens: gold answers that are cut off",
    "padding": f"Left padding without a mask, batches of {BATCH}: answers of the untrained model that change",
}


def show(tables: dict[str, list[Row]]) -> str:
    """The tables as text."""
    from tabulate import tabulate

    parts = []
    for key, rows in tables.items():
        if rows:
            headers = list(dict.fromkeys(name for row in rows for name in row))
            cells = [[_formatted(row.get(name)) for name in headers] for row in rows]
            grid = tabulate(cells, headers, tablefmt="pipe", disable_numparse=True)
            parts.append(f"{TITLES[key]}\n\n{grid}\n")
    return "\n".join(parts)


def _formatted(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Examine the model and print the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("model", help="zoo:NAME, hub id, folder or .gguf file")
    parser.add_argument("--small", help="the model to contrast it with")
    parser.add_argument(
        "--small-without", type=int, nargs="+", help="take the model without these layers, from 0, as the small model"
    )
    parser.add_argument(
        "--texts", type=Path, help='a file with a {"id": …, "text": …} on each line [default: the biographies]'
    )
    parser.add_argument(
        "--biographies",
        type=Path,
        help="a file or folder, as `path` of the biography task [default: the shipped people]",
    )
    parser.add_argument("--count", type=int, default=20, help="number of texts")
    parser.add_argument("--prompts", type=int, default=40, help="number of questions for the table on padding")
    parser.add_argument("--prefix", default="", help="put before every text and not scored")
    parser.add_argument("--dtypes", nargs="+", choices=(*DTYPES, "float16"), default=DTYPES)
    parser.add_argument("--alpha", type=float, default=0.6)
    parser.add_argument("--beta", type=float, default=0.03)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    given = parser.parse_args(arguments)
    try:
        tables = examine(given, lambda line: print(line, file=sys.stderr, flush=True))
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(json.dumps(tables, ensure_ascii=False) if given.json else show(tables), end="\n" if given.json else "")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
