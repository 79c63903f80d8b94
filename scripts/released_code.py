"""Show on a model what the paper's released code computes, and how that differs from what the paper says.

    python -m scripts.released_code zoo:large --small zoo:small
    python -m scripts.released_code PATH_OR_ID --small-without 5 7 9

The second takes the same model without these layers as the small one. The formulas are this project's reading of
tsinghua-msiip/contrasting_attention, commit 283ad69 (the reduction `released` and the methods `released_random`,
`released_attention`, `released_difference`); docs/released_code.md says what follows from them.
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

NEW_TOKENS = 10  # what the released evaluation generates
BATCH = 8  # of its evaluation
DTYPES = ("float32", "bfloat16")
Row = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """One model in one precision: scores of every text by the released formula and as received, and what was found.

    `off` is the largest relative deviation of a released score from 1/(i + 1), i counting the tokens from 0, those that
    the tokenizer adds included.
    """

    released: list[TokenScores]
    received: list[TokenScores]
    off: float


def scored(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text], prefix: str
) -> Scored:
    """Score texts one at a time, as the released code does, by both readings."""
    from benchmark.scoring.scores import score_texts

    one_at_a_time = {"prefix": prefix, "tokens_per_batch": 1}
    return Scored(
        score_texts(model, tokenizer, texts, "released", **one_at_a_time),  # type: ignore[arg-type]
        score_texts(model, tokenizer, texts, "received", **one_at_a_time),  # type: ignore[arg-type]
        max(_off_position(model, tokenizer(prefix + text.text)["input_ids"]) for text in texts),
    )


def _off_position(model: "PreTrainedModel", ids: list[int]) -> float:
    import torch

    from benchmark.scoring.attention import ReceivedAttention

    with torch.inference_mode(), ReceivedAttention(model, "released") as attention:
        row = torch.tensor([ids], device=attention.decoder.device)
        attention.decoder(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False)
        score = attention.scores()[0].double().cpu().numpy()
    return float(np.abs(score * np.arange(1, len(ids) + 1) - 1).max())


def attention_row(one: Scored) -> Row:
    """How the released score of a token goes with its position, and with the attention that the token receives."""
    return {
        "largest deviation from 1/(i+1)": one.off,
        "rank correlation with position": _mean(rank_correlation(s.score, range(len(s.score))) for s in one.released),
        "rank correlation with received attention": _mean(
            rank_correlation(mine.score, theirs.score) for mine, theirs in zip(one.released, one.received, strict=True)
        ),
    }


def difference_row(large: Scored, small: Scored) -> Row:
    """What is left of large minus small under the released formula, beside the contrast that the paper describes."""
    from benchmark.scoring.scores import contrast

    noise = [one.score for one in contrast(large.released, small.released)]
    true = [one.score for one in contrast(large.received, small.received)]
    every, signal = np.abs(np.concatenate(noise)), np.abs(np.concatenate(true))
    return {
        "mean size": float(every.mean()),
        "median size": float(np.median(every)),
        "mean size, paper": float(signal.mean()),
        "median size, paper": float(np.median(signal)),
        "exactly 0": float((every == 0).mean()),
        "rank correlation with the paper": _mean(rank_correlation(a, b) for a, b in zip(noise, true, strict=True)),
        "rank correlation with position": _mean(rank_correlation(one, range(len(one))) for one in noise),
        "texts where all are equal": sum(len(set(one)) == 1 for one in noise),
    }


def kept_row(tokens: Sequence[TokenScores], texts: Sequence[Text], method: str, alpha: float, copies: int) -> Row:
    """The share of tokens, punctuation aside, that random dropout with α keeps."""
    made = augment(make_method(method, {"alpha": alpha, "dropped": "blank"}), texts, tokens, copies, seed=1)
    every = {text.id: units(text, token) for text, token in zip(texts, tokens, strict=True)}
    there = kept = 0
    for one in made:
        original = next(text.text for text in texts if text.id == one.id)
        for unit in every[one.id]:
            surface = original[unit.start : unit.end]
            if one.copy and surface.strip() and surface.strip() not in PUNCTUATION:
                there += 1
                kept += one.text[unit.start : unit.end] == surface
    return {"method": method, "alpha": alpha, "tokens": there, "kept": kept / there}


def blanks_row(
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Sequence[TokenScores],
    texts: Sequence[Text],
    method: str,
    parameters: Row,
    copies: int,
) -> Row:
    """Tokens of a training text as a method makes it, and how many of them stand for white space alone."""
    made = list(augment(make_method(method, parameters), texts, tokens, copies, seed=1))
    lengths, blank = [], 0
    for row in made:
        offsets = tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        lengths.append(len(offsets))
        blank += sum(not row.text[start:end].strip() for start, end in offsets)
    return {
        "method": method,
        **parameters,
        "training texts": len(made),
        "tokens per text": sum(lengths) / len(made),
        "white space": blank / sum(lengths),
        "tokens to train on": sum(lengths),
    }


def answer_rows(tokenizer: "PreTrainedTokenizerBase", people: Sequence[Any], limit: int = NEW_TOKENS) -> list[Row]:
    """How long the gold answers are, and the share of them that so many new tokens cut off, by field."""
    rows = []
    for field in biography.FIELDS:
        lengths = [len(tokenizer(f" {p['facts'][field]}", add_special_tokens=False)["input_ids"]) for p in people]
        cut = sum(length > limit for length in lengths) / len(lengths)
        rows.append({"field": field, "mean tokens": statistics.mean(lengths), "most": max(lengths), "cut off": cut})
    return rows


def padding_row(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[str]) -> Row:
    """How many continuations of left-padded prompts change when the model is not told which tokens are padding."""
    import torch

    pad = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
    rows = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    changed = padded = 0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch], device=model.device)
        told, untold = (
            model.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=one, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=pad
            )[:, longest:]
            for one in (mask, torch.ones_like(mask))
        )
        padded += sum(len(row) < longest for row in batch)
        changed += sum(_up_to_end(a, pad) != _up_to_end(b, pad) for a, b in zip(told, untold, strict=True))
    return {"prompts": len(rows), "padded": padded, "continuations changed": changed}


def _up_to_end(row: Any, pad: int) -> list[int]:
    return list(itertools.takewhile(lambda token: token != pad, row.tolist()))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values sharing the mean of their ranks; None where one side is all equal."""
    x, y = (_ranks(side) for side in (a, b))
    if x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    _, place, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def prompts_of(people: Sequence[Any], path: Path | None, count: int) -> list[str]:
    """Questions behind five examples each, fields and examples by turns, so that their lengths differ."""
    wordings, shots, rng = biography.read_prompts(path), biography.read_shots(path), random.Random(1)
    prompts = []
    for number, person in enumerate(people[:count]):
        field = biography.FIELDS[number % len(biography.FIELDS)]
        asked = [
            f"{wordings[field].format(name=shot['name'])} {shot['facts'][field]}"
            for shot in rng.sample(shots, min(5, len(shots)))
        ]
        prompts.append("\n\n".join([*asked, wordings[field].format(name=person["name"])]))
    return prompts


def examine(given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, list[Row]]:
    """All that can be shown on the model, as tables by title."""
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.scoring.scores import tokens_of
    from benchmark.suite.plan import find_device

    try:
        people = biography.read_people(given.biographies)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    texts = read_texts(given.texts) if given.texts else [Text(p["id"], p["text"]) for p in people]
    texts = texts[: given.count]
    device = find_device(given.device)
    found, contrasted = _contrast(given, texts, device, say)
    spec = ModelSpec(model=given.model, dtype="float32")
    tokenizer = tokenizer_of(spec)
    tokens = tokens_of(tokenizer, texts)
    say("dropout")
    names, alpha = ("random_dropout", "released_random"), {"alpha": given.alpha}
    found["random"] = [kept_row(tokens, texts, name, given.alpha, given.copies) for name in names]
    made: list[tuple[str, Row, Sequence[TokenScores]]] = [("plain", {}, tokens)]
    made += [(name, {**alpha, "dropped": how}, tokens) for name in names for how in ("delete", "blank")]
    ways = {"contrastive_dropout": "delete", "released_difference": "blank"}
    made += [(name, {**alpha, "beta": given.beta, "dropped": ways[name]}, contrasted[name]) for name in contrasted]
    found["blanks"] = [blanks_row(tokenizer, scores, texts, name, some, given.copies) for name, some, scores in made]
    found["answers"] = answer_rows(tokenizer, people)
    say("padding")
    prompts = prompts_of(people, given.biographies, given.prompts)
    found["padding"] = [padding_row(load_model(spec, device), tokenizer, prompts)]
    return found


def _contrast(
    given: argparse.Namespace, texts: Sequence[Text], device: str, say: Callable[[str], None]
) -> tuple[dict[str, list[Row]], dict[str, list[TokenScores]]]:
    """The tables on scores, and by method the large minus the small model's scores in the last precision, if any."""
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.scoring.scores import contrast

    found: dict[str, list[Row]] = {"attention": [], "difference": []}
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
            found["attention"].append({"model": role, "dtype": dtype, **attention_row(both[role])})
        if small:
            found["difference"].append({"dtype": dtype, **difference_row(both["large"], both["small"])})
            contrasted = {
                "contrastive_dropout": contrast(both["large"].received, both["small"].received),
                "released_difference": contrast(both["large"].released, both["small"].released),
            }
    return found, contrasted


TITLES = {
    "attention": "Score of a token: as released, 1/(i+1) whatever the model and the text",
    "difference": "Large minus small: as released, rounding noise",
    "random": "Random dropout with α: as released, α is the share that is kept",
    "blanks": "What is dropped becomes spaces: tokens that no method asked for",
    "answers": f"{NEW_TOKENS} new tokens: gold answers that are cut off",
    "padding": f"Left padding without a mask, batches of {BATCH}: answers of the untrained model that change",
}


def show(found: dict[str, list[Row]]) -> str:
    """The tables as text."""
    from tabulate import tabulate

    parts = []
    for key, rows in found.items():
        if rows:
            headers = list(dict.fromkeys(name for row in rows for name in row))
            cells = [[_shown(row.get(name)) for name in headers] for row in rows]
            grid = tabulate(cells, headers, tablefmt="pipe", disable_numparse=True)
            parts.append(f"{TITLES[key]}\n\n{grid}\n")
    return "\n".join(parts)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Examine the model and print what was found; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("model", help="zoo:NAME, hub id, folder or .gguf file")
    parser.add_argument("--small", help="the model to contrast it with")
    parser.add_argument("--small-without", type=int, nargs="+", help="layers left out of the small model, from 0")
    parser.add_argument("--texts", type=Path, help='one {"id": …, "text": …} a line [default: the biographies]')
    parser.add_argument("--biographies", type=Path, help="as `path` of the biography task [default: those shipped]")
    parser.add_argument("--count", type=int, default=20, help="texts, the first so many")
    parser.add_argument("--prompts", type=int, default=40, help="questions for the effect of padding")
    parser.add_argument("--prefix", default="", help="put before every text, not scored")
    parser.add_argument("--dtypes", nargs="+", choices=(*DTYPES, "float16"), default=DTYPES)
    parser.add_argument("--alpha", type=float, default=0.6)
    parser.add_argument("--beta", type=float, default=0.03)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    given = parser.parse_args(arguments)
    try:
        found = examine(given, lambda line: print(line, file=sys.stderr, flush=True))
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(json.dumps(found, ensure_ascii=False) if given.json else show(found), end="\n" if given.json else "")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
