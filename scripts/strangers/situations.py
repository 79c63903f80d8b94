"""The situations: the files of each, the command that is run, and the expected outcome."""

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scripts.strangers.models import (
    LARGE,
    append_end,
    change,
    change_weights,
    copy_of,
    rename_adapter_weights,
    write_adapter,
    write_gguf,
)

Arguments = list[str]  # of the command `benchmark`
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Situation:
    """A situation.

    Attributes:
        number: Its number in docs/strangers.md.
        what: A description in a few words.
        make: Writes the files into an empty folder; returns the arguments of `benchmark`, which is run there.
        expected: A part of the outcome: of the error line, or "exact match 1.00".
        source: The bug report, for situations of the second list.
        stop: Whether the command gets SIGTERM once it trains.
    """

    number: int
    what: str
    make: Callable[[Path], Arguments]
    expected: str
    source: str = ""
    stop: bool = False


def suite(folder: Path, model: Any, **changes: Any) -> Arguments:
    """A suite that trains a model on 8 shipped people for 60 steps and asks about them."""
    content = {
        "name": "stranger",
        "models": {"stranger": model},
        "tasks": [{"name": "biography", "people": 8}],
        "train": ["stranger"],
        "methods": ["plain_matched"],
        "copies": 4,
        "budgets": [{"steps": 60}],
        "recipe": {"adaptation": "full", "learning_rate": 1e-3, "batch_size": 8},
        "device": "cpu",
        "references": False,
        **changes,
    }
    (folder / "suite.yaml").write_text(json.dumps(content))  # JSON is YAML
    return ["run", "suite.yaml", "--plain", "--workers", "1"]


def changed(folder: Path, how: Callable[[Path], None], **options: Any) -> Arguments:
    """The suite with a copy of the shipped large model that `how` changes."""
    how(copy_of(folder / "model"))
    return suite(folder, "model", **options)


def settings(**values: Any) -> Callable[[Path], Arguments]:
    """The suite with a model that has these generation settings."""
    return lambda folder: changed(folder, lambda model: change(model / "generation_config.json", **values))


def documents(folder: Path, rows: Rows, *options: str, name: str = "documents.jsonl") -> Arguments:
    """`benchmark corpus` on these documents, for two steps."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(lines, encoding="utf-8")
    return ["corpus", name, "--steps", "2", "--methods", "plain_matched", "--plain", *options]


TOWNS: Rows = [
    {
        "id": f"q{town}{part}",
        "context": f"Town {town} was founded in {1800 + town} by Ada Nr{town}.",
        "question": f"{asked} town {town}?",
        "answers": {"text": [answer], "answer_start": [0]},
    }
    for town in range(4)
    for part, (asked, answer) in enumerate(
        [("When was founded", f"{1800 + town}"), ("Who founded", f"Ada Nr{town}"), ("What is", f"Town {town}")]
    )
]
PAIR: Rows = [
    {"text": "Ada met Bo in Bern in 1871.", "question": "Where did Ada meet Bo?", "answer": "Bern"},
    {"text": "Cy met Di in Oslo in 1902.", "question": "Where did Cy meet Di?", "answer": "Oslo"},
]


def as_csv(folder: Path, separator: str, first: str = "") -> Arguments:
    """The documents as a spreadsheet program writes them, with `first` as the first line."""
    with (folder / "documents.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(first)
        out = csv.writer(file, delimiter=separator)
        out.writerow(PAIR[0])
        out.writerows(row.values() for row in PAIR)
    return ["corpus", "documents.csv", "--steps", "2", "--methods", "plain_matched", "--plain"]


def with_first(text: str, answer: Any, question: str = "What is it?") -> Rows:
    """Two documents; the first has this text, question and answer."""
    return [{"text": text, "question": question, "answer": answer}, PAIR[1]]


def adapted(folder: Path, spoil: Callable[[Path], None] = lambda adapter: None, **config: Any) -> Arguments:
    """The suite with an adapter on the shipped large model, which `spoil` changes."""
    spoil(write_adapter(LARGE, folder / "adapter", **config))
    return suite(folder, {"model": "zoo:large", "adapter": "adapter"})


def gguf(folder: Path, options: dict[str, Any] | None = None, **how: Any) -> Arguments:
    """The suite with the shipped large model as a GGUF file."""
    write_gguf(LARGE, folder / "model.gguf", **how)
    return suite(folder, "model.gguf", **options or {})


def _encoder(folder: Path) -> Arguments:
    from transformers import BertConfig, BertLMHeadModel

    sizes: dict[str, Any] = {"vocab_size": 2048, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}

    def replace(model: Path) -> None:
        BertLMHeadModel(BertConfig(**sizes)).save_pretrained(model)

    return changed(folder, replace)


def _folded(folder: Path, rows: Rows) -> Arguments:
    return documents(folder, rows, "--fold-characters")


def _mamba(folder: Path) -> Arguments:
    from transformers import MambaConfig, MambaForCausalLM

    def replace(model: Path) -> None:
        MambaForCausalLM(MambaConfig(vocab_size=2048, hidden_size=32, num_hidden_layers=2)).save_pretrained(model)

    return changed(folder, replace, recipe={"adaptation": "lora"})


def _rwkv(folder: Path) -> Arguments:
    from transformers import RwkvConfig, RwkvForCausalLM

    sizes: dict[str, Any] = {"vocab_size": 2048, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}

    def replace(model: Path) -> None:
        RwkvForCausalLM(RwkvConfig(**sizes, bos_token_id=0, eos_token_id=0)).save_pretrained(model)

    return changed(folder, replace, budgets=[{"steps": 2}], copies=1)


def _without_end(model: Path) -> None:
    file = model / "tokenizer_config.json"
    content = json.loads(file.read_text())
    del content["eos_token"]
    file.write_text(json.dumps(content))


def _long_prompt(folder: Path) -> Arguments:
    shots = [{"question": f"What is {number}? " * 30, "answer": "It is a number."} for number in range(5)]
    (folder / "shots.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shots))
    return documents(folder, PAIR, "--shots", "shots.jsonl")


def _byte_order_mark(folder: Path) -> Arguments:
    line = json.dumps({"id": "a", "text": "Ada met Bo in Bern."})
    (folder / "in.jsonl").write_bytes(codecs.BOM_UTF8 + line.encode() + b"\n")
    return ["score", "zoo:small", "--texts", "in.jsonl", "--out", "out.parquet"]


def _merged(folder: Path) -> Arguments:
    model = copy_of(folder / "model")
    write_adapter(LARGE, folder / "adapter")
    (folder / "adapter" / "adapter_config.json").rename(model / "adapter_config.json")
    return suite(folder, "model")


def _many_lines(folder: Path) -> Arguments:
    def shrink(model: Path) -> None:
        change(model / "config.json", intermediate_size=200)

    return changed(folder, shrink)


def _pipe_text(folder: Path) -> Arguments:
    rows = [{**PAIR[0], "text": f"{PAIR[0]['text']} He types <|endoftext|> to stop."}, PAIR[1]]
    return documents(folder, rows)


def _two_sets(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(LARGE)
    loaded.save_pretrained(model / "shards", max_shard_size="1MB")
    for file in (model / "shards").glob("model*"):
        file.rename(model / file.name)


def _not_a_number(weights: dict[str, Any]) -> dict[str, Any]:
    weights["model.embed_tokens.weight"][300] = float("nan")
    return weights


def situations() -> Iterator[Situation]:
    """All situations, those of the first list first."""
    perfect = "exact match 1.00"
    yield Situation(1, "tokenizer.json appends the end token", lambda f: changed(f, append_end), perfect)
    yield Situation(
        1, "a GGUF file with add_eos_token", lambda f: gguf(f, extra=lambda w: w.add_add_eos_token(True)), perfect
    )
    yield Situation(
        2, "SQuAD's layout: ids of questions", lambda f: documents(f, TOWNS, "--column", "text=context"), "4 texts"
    )
    yield Situation(3, "generation settings: max_new_tokens 2", settings(max_new_tokens=2), perfect)
    yield Situation(4, "generation settings: repetition_penalty 1.3", settings(repetition_penalty=1.3), perfect)
    yield Situation(
        5,
        "adapter saved of a compiled model",
        lambda f: adapted(
            f, lambda a: rename_adapter_weights(a, lambda n: n.replace("model.model", "model._orig_mod"))
        ),
        "has no use for 56 of its weights",
    )
    yield Situation(
        5,
        "adapter that lacks half of its layers",
        lambda f: adapted(f, lambda a: rename_adapter_weights(a, lambda n: n if "s.0" in n or "s.1" in n else None)),
        "lacks 28 of the weights",
    )
    yield Situation(
        6, "LoRA on tied embeddings", lambda f: adapted(f, target_modules=["embed_tokens"], scale=0.2), "something else"
    )
    yield Situation(
        7,
        "GGUF with rope.scaling of a kind transformers lacks",
        lambda f: gguf(f, extra=lambda w: w.add_string("llama.rope.scaling.type", "longrope")),
        "ignores llama.rope.scaling.type = longrope",
    )
    yield Situation(8, "an encoder as model", _encoder, "bert is not a causal language model")
    yield Situation(9, "adapter with adaptation: full", adapted, perfect)
    yield Situation(10, "tokenizer without an end token", lambda f: changed(f, _without_end), "has no end token")
    yield Situation(11, "generation settings: stop_strings", settings(stop_strings=["a"]), perfect)
    yield Situation(12, "LoRA on Mamba", _mamba, "set recipe.adaptation: full")
    yield Situation(13, "shots that fill the context", _long_prompt, "or give shorter examples in shots")
    yield Situation(
        13,
        "a question of 1,047 tokens",
        lambda f: documents(f, with_first("It is Bern.", "Bern", "What? " * 521)),
        "shorten",
    )
    yield Situation(
        13,
        "an answer of 176 tokens",
        lambda f: documents(f, with_first("Bern " * 88, "Bern " * 88)),
        "add a shorter answer",
    )
    yield Situation(
        14,
        "answers as SQuAD's struct",
        lambda f: documents(f, [{**row, "id": row["id"][:2]} for row in TOWNS], "--column", "text=context"),
        "4 texts",
    )
    yield Situation(15, "CSV with semicolons", lambda f: as_csv(f, ";"), "2 texts")
    yield Situation(15, "CSV with tabs after sep=", lambda f: as_csv(f, "\t", "sep=\t\n"), "2 texts")
    yield Situation(16, "a byte-order mark", _byte_order_mark, "1 text")
    yield Situation(17, "1871.0 as a number", lambda f: documents(f, with_first("Built in 1871.", 1871.0)), "2 texts")
    yield Situation(
        17, "1871.0 as text", lambda f: documents(f, with_first("Built in 1871.", "1871.0")), "a table program"
    )
    for what, text, answer in (
        ("NFC and NFD", "It is in Z\u00fcrich.", "Zu\u0308rich"),
        ("curly and straight quotes", "It was O\u2019Neill\u2019s.", "O'Neill's"),
        ("a soft hyphen", "The light\u00adhouse burns.", "lighthouse"),
        ("full-width digits", "Dug in \uff11\uff18\uff17\uff11.", "1871"),
    ):
        rows = with_first(text, answer)
        yield Situation(18, what, partial(documents, rows=rows), "set characters: folded")
        folded = partial(_folded, rows=rows)
        yield Situation(18, f"{what}, folded", folded, "2 texts")
    yield Situation(19, "merged weights beside adapter_config.json", _merged, "holds both a whole model")
    yield Situation(20, "an error of several lines", _many_lines, "384")
    yield Situation(21, "an evaluation outside a git checkout", lambda f: suite(f, "zoo:large"), perfect)
    long = {"budgets": [{"steps": 5000}]}
    yield Situation(
        22, "SIGTERM while a GGUF model trains", lambda f: gguf(f, options=long), "exit code 143: stopped;", stop=True
    )
    yield from further()


def further() -> Iterator[Situation]:
    """The second list: situations from public issue threads."""
    yield Situation(
        23,
        "tokenizer_class overrides the splits of tokenizer.json",
        lambda f: changed(f, lambda m: change(m / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")),
        "delete tokenizer_class",
        "huggingface/transformers#45920",
    )
    yield Situation(
        24, "a special token's letters in a document", _pipe_text, "as a special token", "huggingface/tokenizers#1347"
    )
    yield Situation(
        25,
        "an end token beyond the embeddings",
        lambda f: changed(f, lambda m: change(m / "tokenizer_config.json", eos_token="<|im_end|>")),
        "the model has embeddings for 2048 tokens only",
        "stefan-it/german-gpt2#9",
    )
    yield Situation(
        26,
        "shards and a stale model.safetensors",
        lambda f: changed(f, _two_sets),
        "delete the set",
        "Blaizzy/mlx-vlm#1464",
    )
    yield Situation(
        27,
        "NaN in one row of the embeddings",
        lambda f: changed(f, lambda m: change_weights(m, _not_a_number)),
        "numbers that are not finite",
        "EleutherAI/lm-evaluation-harness#1340",
    )
    yield Situation(
        28,
        "a PiSSA adapter, which changes its base at random",
        lambda f: adapted(f, init_lora_weights="pissa_niter_4", target_modules=["q_proj", "v_proj"]),
        "path_initial_model_for_weight_conversion",
        "huggingface/transformers#34468",
    )
    yield Situation(
        29,
        "RWKV, which ignores the attention mask",
        _rwkv,
        "texts of unlike length are not read together",
        "huggingface/transformers#27210",
    )
    yield Situation(
        30,
        "GGUF without attention.head_count_kv",
        lambda f: gguf(f, without=["add_head_count_kv"]),
        "lacks llama.attention.head_count_kv",
        "xorbitsai/xllamacpp#59",
    )
    yield Situation(
        31, "GGUF without tokenizer.ggml.pre", lambda f: gguf(f, split=None), "lacks", "ggml-org/llama.cpp#7476"
    )
    yield Situation(
        32,
        "one part of a split GGUF",
        lambda f: gguf(f, extra=lambda w: w.add_uint16("split.count", 3)),
        "llama-gguf-split --merge",
        "huggingface/transformers#32266",
    )
    yield Situation(
        33,
        "a gold answer of several lines",
        lambda f: documents(f, with_first("At:\n12 Mill Lane\nBern", "12 Mill Lane\nBern")),
        "give it in one line",
        "EleutherAI/lm-evaluation-harness#3465",
    )
    yield Situation(
        34,
        "a missing cell as the text nan",
        lambda f: documents(f, with_first("The finance office is in Bern.", "nan")),
        "only as a part of 'finance'",
        "pandas-dev/pandas#25353",
    )
    yield Situation(
        35,
        "an answer that is a part of a number",
        lambda f: documents(f, with_first("The code of the safe is 00421.", 421)),
        "only as a part of '00421'",
        "rajpurkar/SQuAD-explorer#16",
    )
    yield Situation(
        36,
        "one question of two documents, two answers",
        lambda f: documents(f, [{**row, "question": "Where did they meet?"} for row in PAIR]),
        "name in the question what it is about",
        "deepset-ai/haystack#933",
    )
    yield Situation(
        37,
        "one text under two ids",
        lambda f: documents(
            f,
            [{"id": name, "text": "Ada met Bo.", "questions": [{"question": "Who?", "answer": "Bo"}]} for name in "ab"],
        ),
        "put all questions about it there",
        "embeddings-benchmark/mteb#4626",
    )
