"""The text of Markdown and HTML: what stays, what goes, and where the lines end."""

from benchmark.documents.formats import html_as_text, markdown_as_text


def test_markdown_loses_its_marks_and_keeps_headings_lists_tables_and_code() -> None:
    markdown = """---
title: hidden
---
# Port *Ellery*

The harbour of [Port
Ellery](http://somewhere/else) was dug in **1871**. <!-- a note -->

- eels
  and cod
- crabs
  1. one

| ship | captain |
|---|---|
| Marigold | Ines Falk |

```sh
make  test_all
  now
```
> said `Ada_Moss`
"""
    assert (
        markdown_as_text(markdown)
        == """# Port Ellery

The harbour of Port Ellery was dug in 1871.

- eels and cod
- crabs
  1. one

ship | captain
Marigold | Ines Falk

    make  test_all
      now

said Ada_Moss"""
    )


def test_a_rule_in_markdown_is_no_front_matter() -> None:
    assert markdown_as_text("One.\n\n---\n\nTwo.\n\n---\n") == "One.\n\nTwo."
    assert markdown_as_text("---\n\nOne: the pier.\n\nTwo.\n\n---\n\nThree.") == "One: the pier.\n\nTwo.\n\nThree."
    assert markdown_as_text("---\n\nOne.\n\n---\n\nTwo.") == "One.\n\nTwo."
    assert markdown_as_text("---\n\n# One\n\n---\n\nTwo.") == "# One\n\nTwo."


def test_front_matter_is_left_out_whatever_its_values_and_its_end() -> None:
    assert markdown_as_text("---\ndate: 2024-13-45\ntags: [a, b]\n--- \nText.") == "Text."
    assert markdown_as_text("---\n---\nText.") == "Text."
    assert markdown_as_text("---\ntitle: alone\n---") == ""


def test_html_loses_what_no_reader_sees_and_the_pages_frame() -> None:
    page = """<!DOCTYPE html><html><head><title>Hidden</title><style>p {color: red}</style></head><body>
    <nav><a href="/">Home</a></nav>
    <h2>Gull&nbsp;Rock</h2>
    <p>It has <b>212</b> steps<br>and a <a href="/door">green
    door</a>.<script>var hidden = 1</script><span hidden>x</span></p>
    <div>Its keeper is <p>Owen Tarr</p> today &amp; tomorrow</div>
    <footer>All rights reserved</footer></body></html>"""
    expected = [
        "## Gull\xa0Rock",
        "It has 212 steps\nand a green door.",
        "Its keeper is",
        "Owen Tarr",
        "today & tomorrow",
    ]
    assert html_as_text(page).split("\n\n") == expected


def test_a_single_main_element_is_the_page() -> None:
    assert html_as_text("<body><div>Menu</div><main><p>Text</p></main></body>") == "Text"
    assert html_as_text("<main>One</main><main>Two</main>").split() == ["One", "Two"]
    assert html_as_text("just text") == "just text"
    assert html_as_text("") == ""


def test_a_row_of_a_table_is_a_line_also_if_its_cells_are_paragraphs() -> None:
    cells = "<td><p>Marigold</p></td><td>\n<div>Ines <b>Falk</b></div></td>"
    assert html_as_text(f"<table><tr>{cells}</tr><tr><td>Lark</td></tr></table>") == "Marigold | Ines Falk\nLark"
    assert html_as_text("<table><tr><td>One<p>Two</p><p>Three</p></td></tr></table>").split() == ["One", "Two", "Three"]


def test_items_of_an_ordered_list_keep_their_numbers() -> None:
    assert markdown_as_text("3. three\n4. four\n   - a\n   - b\n5. five") == (
        "3. three\n4. four\n  - a\n  - b\n5. five"
    )
    assert html_as_text("<ol start=x><li>one<li>two</ol>") == "1. one\n2. two"


def test_the_text_of_an_image_stands_in_its_sentence() -> None:
    assert markdown_as_text("Press the ![save icon](s.png) button.") == "Press the save icon button."
    assert html_as_text("<p>Press <img src=s.png> twice.</p>") == "Press twice."


def test_an_exponent_is_told_from_digits_and_from_the_mark_of_a_footnote() -> None:
    assert html_as_text('<p>10<sup>6</sup> steps<sup><a href="#n1">1</a></sup></p>') == "10^6 steps1"


def test_an_empty_cell_keeps_its_column() -> None:
    assert markdown_as_text("| | before | after |\n|---|---|---|\n| depth | 9 | |") == ("| before | after\ndepth | 9 |")
    assert html_as_text("<table><tr><td></td><td></td></tr><tr><td>Lark</td></tr></table>") == "Lark"


def test_the_link_beside_a_heading_is_no_part_of_it() -> None:
    assert html_as_text('<h2>Depth<a class="headerlink" href="#depth">\u00b6</a></h2>') == "## Depth"
