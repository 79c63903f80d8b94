"""Write the folder of an adopted model: weights, tokenizer, model card, and how it is asked."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.adoption.card import CARD, Facts, model_card
from benchmark.adoption.settings import FILE, Adopted
from benchmark.core.errors import USER_ERRNOS, UserError, library_error
from benchmark.core.files import sync_folder, sync_tree
from benchmark.corpora.own_documents import OwnDocuments
from benchmark.evaluation.prompts import asking_form
from benchmark.executors.worker import explaining
from benchmark.models.spec import ModelSpec
from benchmark.records.evidence import Evidence
from benchmark.records.record import Record
from benchmark.stages.files import WEIGHTS
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.document_folder import question_writer
from benchmark.suite.plan import Cell, Plan

ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class Winner:
    """The model to adopt: its cell in a plan, its record, and why it was chosen."""

    plan: Plan
    cell: Cell
    record: Record
    evidence: Evidence

    @property
    def base(self) -> ModelSpec:
        """The model that was trained, with hub revisions pinned and local paths absolute."""
        name = self.cell.trained
        spec = self.plan.suite.models[name].pinned(self.plan.fingerprints[name])
        local, adapter = spec.local, spec.local_adapter
        paths = {"model": local and str(local.resolve()), "adapter": adapter and str(adapter.resolve())}
        return spec.model_copy(update={"device_map": None} | {key: path for key, path in paths.items() if path})

    @property
    def questions(self) -> Path | None:
        """The folder of the documents, if their questions stand in it as well."""
        task = next(task for task in self.plan.suite.tasks if task.name == self.record.task.name)
        return task.path if isinstance(task, OwnDocuments) and task.questions is None else None


def adopt(store: Store, winner: Winner, out: Path, merge: bool = False, retrain: bool = False) -> Adopted:
    """Write the winner to a folder, which then is whole or unchanged.

    Args:
        store: Holds the trained weights.
        winner: The model to adopt.
        out: The folder to write, which must be absent or empty.
        merge: Write whole weights, with the adapter merged into the base model.
        retrain: Train the model again if its weights are gone.

    Returns:
        The settings that stand in the folder.

    Raises:
        UserError: The folder is not empty or cannot be written, the weights are gone or damaged, or the model cannot be
            written in this form.
    """
    check_free(out)
    call = winner.cell.stages["train"]
    _check_form(winner, merge)
    if not store.verified(call):
        _train_again(store, call, winner, retrain)
    weights = store.path(call) / WEIGHTS
    is_adapter = (weights / ADAPTER).is_file()
    params, where = winner.cell.stages["evaluate"].params, winner.cell.stages["evaluate"].where
    settings = Adopted(
        weights="adapter" if is_adapter and not merge else "whole",
        base=winner.base,
        base_fingerprint=winner.plan.fingerprints[winner.cell.trained],
        asked=asking_form(params["tasks"], where["metadata"], winner.evidence.shots),
        recalled=winner.evidence.recalled,
        suite=winner.plan.suite.name,
        cell=winner.cell.key,
        record=winner.evidence.record.name,
        record_sha256=winner.record.sha256,
    )
    facts = Facts(
        settings,
        winner.record,
        winner.evidence,
        folder=out,
        merged=is_adapter and merge,
        trained_again=store.cost(call) != winner.record.cost["train"],
        question_writer=question_writer(winner.questions),
    )
    with _whole_or_absent(out) as folder:
        if is_adapter and merge:
            _write_merged(winner, weights, folder)
        else:
            for file in weights.iterdir():
                shutil.copyfile(file, folder / file.name)  # copytree would hide which error of the disk it met
        if settings.weights == "adapter":
            _name_base(folder / ADAPTER, settings.base)
        _write_tokenizer(settings.base, folder)
        (folder / FILE).write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(facts), encoding="utf-8")
    return settings


def check_free(out: Path) -> None:
    """Raise UserError unless a folder is absent, or empty and such that another can take its place."""
    try:
        if (out.exists() or out.is_symlink()) and not (out.is_dir() and not any(out.iterdir())):
            what = "is not empty" if out.is_dir() else "is no folder"
            raise UserError(f"{out}: {what}, and nothing was written; give another folder with --out, or empty it")
        if out.is_dir() and (os.path.ismount(out) or out.samefile(Path.cwd())):
            what = "is a mount point" if os.path.ismount(out) else "is the current folder"
            raise UserError(f"{out}: {what}, which cannot be replaced; give a folder in it with --out")
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; give another folder with --out") from None


def _check_form(winner: Winner, merge: bool) -> None:
    """Refuse an adapter that peft cannot put on its base by name, and merging into quantized weights."""
    base, recipe = winner.base, winner.cell.recipe
    if recipe is None or recipe.adaptation != "lora":
        return
    if merge and base.quantization:
        raise UserError(
            f"model {base.model!r}: quantization: an adapter cannot be merged into quantized weights; leave --merge out"
        )
    if not merge and (base.skip_layers or base.adapter):
        field = "skip_layers" if base.skip_layers else "adapter"
        raise UserError(
            f"model {base.model!r}: {field}: other programs cannot put the new adapter on such a base; write whole "
            "weights with --merge"
        )


def _train_again(store: Store, call: StageCall, winner: Winner, retrain: bool) -> None:
    if not retrain:
        raise UserError(
            f"{store.path(call)}: the weights of {winner.evidence.record.name} are missing or damaged (pruned, or the "
            "records come from another machine); train them again with --retrain"
        )
    from benchmark.progress.bar import bar
    from benchmark.stages import run_stage

    with explaining(call), bar("steps trained") as progress:
        run_stage(store, call, progress)


@contextmanager
def _whole_or_absent(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`, which takes its place if the block succeeds, and is removed if it fails.

    Raises:
        UserError: It cannot be written.
    """
    temporary = out.absolute().with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from None
    try:
        yield temporary
        sync_tree(temporary)
        os.rename(temporary, out)  # onto nothing or an empty folder; refused if another process has filled it
        sync_folder(temporary.parent)
    except UserError:
        raise
    except Exception as error:  # libraries raise kinds of their own for a full disk
        if isinstance(error, OSError) and error.errno not in USER_ERRNOS:
            raise
        reason = error.strerror if isinstance(error, OSError) else library_error(error)
        raise UserError(
            f"{out}: cannot be written ({reason}), and is unchanged; free the disk, or give another folder with --out"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_merged(winner: Winner, weights: Path, folder: Path) -> None:
    """Write the base model with the adapter merged into its weights, after comparing the logits of both."""
    from benchmark.models.forward_checks import TOKENS, logits_agree, logits_of
    from benchmark.models.loading import load_trained

    adapted: Any = load_trained(winner.base, winner.plan.device, weights)
    expected = logits_of(adapted, [TOKENS])
    merged = adapted.merge_and_unload(safe_merge=True)
    if not logits_agree(logits_of(merged, [TOKENS]), expected):
        raise UserError(
            f"model {winner.base.model!r}: merged with its adapter it computes something else; leave --merge out"
        )
    merged.config.use_cache = True
    merged.save_pretrained(folder)


def _name_base(file: Path, base: ModelSpec) -> None:
    """Write into the adapter's configuration where its base model is, for peft's own loading."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base.model, "revision": base.revision}
    file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _write_tokenizer(base: ModelSpec, folder: Path) -> None:
    """Save the tokenizer that the model was trained with, and check that it reads a text alike when loaded again."""
    from transformers import AutoTokenizer

    from benchmark.models.loading import SPLIT_PROBE, tokenizer_of

    tokenizer = tokenizer_of(base)
    tokenizer.save_pretrained(folder)
    saved = AutoTokenizer.from_pretrained(folder, trust_remote_code=base.trust_remote_code)
    if saved(SPLIT_PROBE)["input_ids"] != tokenizer(SPLIT_PROBE)["input_ids"]:
        raise UserError(
            f"model {base.model!r}: its tokenizer reads text differently once it is saved, and nothing was written; "
            "give the model's folder with safetensors in the suite"
        )
