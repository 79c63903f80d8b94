"""Time of scoring, compared with a plain forward pass and with the paper's released code; and its peak memory.

    python -m perf.scoring zoo:large
    python -m perf.scoring PATH.gguf --biographies FOLDER --released CHECKOUT --long 64 2048 8192

The limit is the decoder's forward pass with SDPA on the same batches, without the language-model head.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perf.inputs import biographies, text_of
from perf.ratios import Timed, arguments, run, show, timed, with_profile

PREFIX = "Text: "
TOKENS_PER_BATCH = 4096


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = with_profile(arguments(str(__doc__)))
    parser.add_argument("model", help="zoo:NAME, hub id, folder or .gguf file")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--biographies", type=Path, help="folder with the paper's CSV files [default: shipped texts]")
    parser.add_argument("--count", type=int, default=100, help="number of biographies")
    parser.add_argument("--released", type=Path, help="checkout of the released code, to time as well")
    parser.add_argument(
        "--long", type=int, nargs="*", default=[], help="lengths of single texts to time as well, in tokens"
    )
    parser.add_argument(
        "--memory",
        type=int,
        nargs="*",
        default=[],
        help="lengths of single texts to measure peak memory for, in tokens",
    )
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.peak_of:
        print(json.dumps({"peak": _peak(options)}))
        return 0
    measured = _times(options)
    peaks = {str(length): _peak_in_a_process(options, length) for length in options.memory}
    if peaks and not options.json:
        show(measured, options)
        least = min(peaks.values())
        for length, peak in peaks.items():
            more = (peak - least) / 2**30
            print(f"text of {length} tokens: peak {peak / 2**30:.2f} GiB, {more:.2f} more than the smallest")
        return 0
    show(measured, options, peaks=peaks)
    return 0


def _load(options: argparse.Namespace) -> tuple[Any, Any]:
    import torch

    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec

    torch.set_num_threads(options.threads)
    spec = ModelSpec(model=options.model, dtype=options.dtype)
    return load_model(spec, options.device), tokenizer_of(spec)


def _times(options: argparse.Namespace) -> list[Timed]:
    from benchmark.data.texts import Text

    model, tokenizer = _load(options)
    texts = biographies(options.biographies)[: options.count]
    measured = [_timed(f"{len(texts)} biographies", model, tokenizer, texts, options)]
    if options.released:
        measured.append(_beside_released(model, tokenizer, texts, options))
    for length in options.long:
        long = [Text("long", text_of(tokenizer, length, PREFIX))]
        measured.append(_timed(f"a text of {length} tokens", model, tokenizer, long, options))
    return measured


def _timed(question: str, model: Any, tokenizer: Any, texts: Any, options: argparse.Namespace) -> Timed:
    from benchmark.scoring.scores import score_texts

    batches = _batches(tokenizer, texts)
    ways: dict[str, Callable[[], object]] = {
        "scoring": lambda: score_texts(model, tokenizer, texts, prefix=PREFIX, tokens_per_batch=TOKENS_PER_BATCH),
        "SDPA forward pass": lambda: _forward(model, batches),
    }
    tokens = sum(int(mask.sum()) for _, mask in batches)
    return timed(question, ways, "SDPA forward pass", options.rounds, (tokens, "tokens"), options.profile)


def _beside_released(model: Any, tokenizer: Any, texts: Any, options: argparse.Namespace) -> Timed:
    from benchmark.scoring.scores import score_texts
    from perf.released import score

    before = model.config._attn_implementation
    plain = [PREFIX + text.text for text in texts]

    def released() -> None:
        model.set_attn_implementation("eager")
        model.config.output_attentions = True
        try:
            score(options.released, model, tokenizer, plain)
        finally:
            model.config.output_attentions = False
            model.set_attn_implementation(before)

    ways: dict[str, Callable[[], object]] = {
        "scoring": lambda: score_texts(model, tokenizer, texts, prefix=PREFIX, tokens_per_batch=TOKENS_PER_BATCH),
        "released code": released,
    }
    tokens = sum(map(len, tokenizer(plain)["input_ids"]))
    return timed(
        f"{len(texts)} biographies", ways, "released code", options.rounds, (tokens, "tokens"), options.profile
    )


def _batches(tokenizer: Any, texts: Any) -> list[tuple[Any, Any]]:
    """The batches that `score_texts` makes, for the same work in both ways."""
    from benchmark.scoring.encoding import batches as batches_of
    from benchmark.scoring.encoding import pad

    ids = tokenizer([PREFIX + text.text for text in texts])["input_ids"]
    return [pad([ids[n] for n in batch]) for batch in batches_of([len(tokens) for tokens in ids], TOKENS_PER_BATCH)]


def _forward(model: Any, batches: list[tuple[Any, Any]]) -> None:
    import torch

    decoder = model.get_decoder()
    with torch.inference_mode():
        for ids, mask in batches:
            decoder(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False)


def _peak(options: argparse.Namespace) -> int:
    """Peak bytes while scoring a text of `peak_of` tokens in this process."""
    from benchmark.data.texts import Text
    from benchmark.scoring.scores import score_texts
    from benchmark.stages import peak_memory, reset_peak_memory

    model, tokenizer = _load(options)
    text = Text("long", text_of(tokenizer, options.peak_of, PREFIX))
    reset_peak_memory(options.device == "cuda")
    score_texts(model, tokenizer, [text], prefix=PREFIX, tokens_per_batch=TOKENS_PER_BATCH)
    return peak_memory(options.device == "cuda")


def _peak_in_a_process(options: argparse.Namespace, length: int) -> int:
    command = [sys.executable, "-m", "perf.scoring", options.model, "--dtype", options.dtype]
    command += ["--device", options.device, "--threads", str(options.threads), "--peak-of", str(length)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(json.loads(printed.splitlines()[-1])["peak"])


if __name__ == "__main__":
    raise SystemExit(run(main))
