"""The stand-ins, tried on scripts of the same outline as the released ones, whose results are known."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core.errors import UserError
from benchmark.models.loading import load_model, load_tokenizer
from benchmark.models.spec import ModelSpec
from perf.released import score, train

SAVE_ATTENTION = """
import hydra
from omegaconf import DictConfig, OmegaConf
import torch, pickle
from transformers import AutoModelForCausalLM, AutoTokenizer
from datasets import load_dataset
from utils import double
from tqdm import tqdm

@hydra.main(version_base=None, config_path="config")
def main(config: DictConfig) -> None:
    model = AutoModelForCausalLM.from_pretrained(config.model)
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    rows = load_dataset("csv", data_files=config.dataset)["train"].map(lambda row: tokenizer(row["text"]))
    found = []
    for row in tqdm(rows):
        ids = torch.tensor([row["input_ids"]]).to("cuda")
        found.append(double(model(ids).logits.shape[1]))
    with open(f"{config.save_name}.pkl", "wb") as file:
        pickle.dump(found, file)

if __name__ == "__main__":
    main()
"""
TRAIN = """
import hydra
import torch
import transformers
from datasets import load_dataset
from omegaconf import DictConfig, OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Trainer

@hydra.main(version_base=None, config_path="config")
def main(config: DictConfig) -> None:
    quantization = BitsAndBytesConfig(**OmegaConf.to_object(config.quant))
    model = AutoModelForCausalLM.from_pretrained(config.model, quantization_config=quantization)
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    tokenizer.pad_token = tokenizer.eos_token
    rows = load_dataset("csv", data_files=config.dataset)["train"].map(lambda row: tokenizer(row["text"]))
    trainer = Trainer(
        train_dataset=rows, model=model,
        args=transformers.TrainingArguments(
            per_device_train_batch_size=config.batch_size, learning_rate=config.lr, warmup_ratio=config.warmup_ratio,
            evaluation_strategy="no", overwrite_output_dir=True, group_by_length=False, bf16=True,
            save_strategy="epoch", output_dir=config.model_dir, report_to="tensorboard",
        ),
        data_collator=transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False, pad_to_multiple_of=8),
    )
    trainer.train()
"""
CONFIGURATION = """
dataset: none.csv
model: none
quant:
  load_in_8bit: True
batch_size: 2
lr: 5e-4
warmup_ratio: 0.1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "save_attention.py").write_text(SAVE_ATTENTION)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "utils.py").write_text("def double(number):\n    return 2 * number\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/train.yaml").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture
def small() -> tuple[Any, Any]:
    return load_model(ModelSpec(model="zoo:small"), "cpu"), load_tokenizer("zoo:small")


def test_the_scoring_script_runs_on_the_given_model_and_texts(checkout: Path, small: tuple[Any, Any]) -> None:
    model, tokenizer = small
    texts = ["Anna was born in May.", "Ben lives in Oslo, Norway."]
    assert score(checkout, model, tokenizer, texts) == [2 * len(tokenizer(text)["input_ids"]) for text in texts]


def test_the_training_script_trains_the_model_and_its_tokens_are_counted(
    checkout: Path, small: tuple[Any, Any], tmp_path: Path
) -> None:
    model, tokenizer = small
    before = model.lm_head.weight.detach().clone()
    texts = ["Anna was born in May."] * 4
    seconds, read = train(checkout, model, tokenizer, texts, steps=3, bf16=False, out=tmp_path / "out")
    assert 0 < seconds < 60
    assert read == 3 * 2 * len(tokenizer(texts[0])["input_ids"])  # three steps of two texts
    assert not torch.equal(model.lm_head.weight, before)


def test_the_message_names_the_script_that_is_missing(tmp_path: Path, small: tuple[Any, Any]) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}/save_attention.py: not found; give the folder of a checkout"):
        score(tmp_path, *small, ["Text."])
