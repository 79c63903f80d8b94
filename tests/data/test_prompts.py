"""Prompt files: what is read, and what is refused in one line."""

from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.data.prompts import label_of, parse_prompt, read_prompt, shipped_prompts
from benchmark.data.written import Writing

HEAD = "---\nsource: ours\n---\n"


@pytest.mark.parametrize("name", shipped_prompts())
def test_every_shipped_prompt_names_its_source_and_has_an_example_for_base_models(name: str) -> None:
    prompt = read_prompt(name)
    assert prompt.source
    assert prompt.examples
    for example in prompt.examples:
        assert all(getattr(example, field) for field in prompt.fields)


def test_braces_and_marks_in_a_document_are_kept_as_they_are() -> None:
    document = "int main() { return {0}; } ### {item} {{x}}"
    assert parse_prompt(HEAD + "{document} {{kept}}", "p.md").filled({"document": document}) == f"{document} {{kept}}"


def test_line_ends_of_windows_are_read() -> None:
    assert parse_prompt("---\r\nsource: ours\r\n---\r\nOne\r\n{document}", "p.md").instruction == "One\n{document}"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{document}", "p.md: no YAML between two lines of ---"),
        (HEAD + "Nothing to fill.", "p.md: instruction: lacks {document}"),
        (HEAD + "{Document}", "p.md: instruction: unknown field {Document}; did you mean 'document'"),
        (HEAD + '{document} as {"a": 1}', "p.md: instruction: unknown field .*(write {{ and }} for braces"),
        ("---\nsource: [\n---\n{document}", "p.md: not a readable YAML file"),
        (HEAD + "{document} {", "p.md: instruction: Single '{' .*; write {{ and }} for braces"),
        (HEAD + "{document:d}", "p.md: instruction: a field holds ':' or '!'; write its name alone"),
        (HEAD + "{document!r}", "p.md: instruction: a field holds ':' or '!'; write its name alone"),
        (HEAD + "{document:>{foo}}", "p.md: instruction: a field holds ':' or '!'; write its name alone"),
        ("---\nexamples: []\n---\n{document}", "p.md: source: missing; give it a value"),
        ("---\nsource: ours\nexampels: []\n---\n{document}", "p.md: unknown field 'exampels'; did you mean 'examples'"),
        (
            "---\nsource: ours\nexamples: [{document: d, answer: a, itm: i}]\n---\n{document}",
            "p.md: unknown field 'examples.0.itm'; did you mean 'item'",
        ),
        (
            "---\nsource: ours\nexamples: [{document: d}]\n---\n{document}",
            "p.md: examples.0.answer: missing; give it a value",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line_with_its_field_and_a_remedy(content: str, error: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_prompt(content, "p.md")
    beginning, _, end = error.partition(".*")
    message = str(raised.value)
    assert message.startswith(beginning) and end in message and "\n" not in message


def test_a_users_prompt_is_named_by_its_file_and_its_content(tmp_path: Path) -> None:
    labels = []
    for folder, instruction in (("one", "Say {document}"), ("two", "Say {document}"), ("three", "Tell {document}")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.md").write_text(HEAD + instruction)
        labels.append(label_of(str(tmp_path / folder / "mine.md")))
    assert labels[0] == labels[1] != labels[2]
    assert all(label.startswith("mine.md:") and str(tmp_path) not in label for label in labels)
    assert Writing(prompts=("rewrite_list", str(tmp_path / "one" / "mine.md"))).labels() == ["rewrite_list", labels[0]]
