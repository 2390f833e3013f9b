"""Files that people wrote badly become one line with the place; files that Tercet writes are whole or absent."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from tercet.documents import Document, read_document, read_yaml, write_atomically, write_document
from tercet.errors import NotFoundError, SpecError, TercetError


class Recipe(Document):
    """For these tests."""

    name: str
    cups: int = 1
    notes: tuple[str, ...] = ()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def test_a_document_survives_writing_and_reading(path: Path) -> None:
    recipe = Recipe(name="Grüße ☕ 日本", cups=3, notes=("no", "1e3", "- x", "a: b", "null", "two\nlines", ""))
    write_document(recipe, path)
    assert read_document(Recipe, path) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "document: "),
        ("- a\n- b", "document: "),
        ("name: x\ncolour: red", "colour: unknown key"),
        ("cups: 1", "name: Field required"),
        ("name: x\ncups: many", "cups: "),
        ("cups: many\ncolour: red", r"and 2 more\)"),
        ("name: [x", r"recipe\.yaml:[12]: not YAML: "),
        ("name: x\n\tcups: 1", r"recipe\.yaml:2: not YAML: "),
        ("name: *nobody", "not YAML: found undefined alias"),
        ("name: !!python/object:os.system {}", "not YAML: could not determine a constructor"),
        ("name: 2024-13-45", "not YAML: month must be in 1..12"),
        ("name: 0b_", "not YAML: "),
        ("name: \x00", "not YAML: "),
        ("{[a]: 1}: 2", "not YAML: "),
    ],
)
def test_a_bad_document_is_refused_in_one_line_with_the_place(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        read_document(Recipe, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


class Menu(Document):
    """For these tests: documents in documents, and a value of two kinds."""

    recipes: tuple[Recipe, ...] = ()
    by_day: dict[str, Recipe] = Field(default_factory=dict)
    wine: Literal["red", "white"] | Recipe = "red"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("recipes:\n- name: a\n- name: b\n  cups: 0.5", 4, "recipes.1.cups: must be a valid integer, got a"),
        ("recipes:\n- name: a\n- cups: 1\n\n", 3, "recipes.1.name: Field required"),
        ("recipes:\n  - {name: a,\n     colour: red}", 3, "recipes.0.colour: unknown key"),
        ("recipes:\n- name: a\n- just a name", 3, "recipes.1: must be keys with values, not 'just a name'"),
        ("by_day:\n  monday:\n    name: a\n    cups: many", 4, "by_day.monday.cups: must be a valid integer"),
        ("by_day:\n  monday:\n  tuesday: {name: a}", 2, "by_day.monday: must be keys with values, not nothing"),
        ("\nwine: blue", 2, "wine: must be 'red' or 'white', not 'blue' (and 1 more)"),
        ("wine:\n  name: a\n  cups: many", 3, "wine.cups: must be a valid integer"),
        ("recipes: &all\n- name: a\n  cups: x\nby_day: *all", 3, "recipes.0.cups: must be a valid integer"),
        ("base: &base {cups: x}\nrecipes:\n- <<: *base\n  name: a", 1, "recipes.0.cups: must be a valid integer"),
        ("recipes:\n- name: a\n  cups: 1\n  name: b", 4, "name: this key stands here twice"),
        ("recipes: [[[]]]", 1, "recipes.0: must be keys with values, not a list"),
        ("wine: 0x" + "f" * 9000, 1, "wine: must be 'red' or 'white', not such a number"),
        ('"a\\nb": 1', 1, "a\\nb: unknown key"),
        ("- name: a", 1, "document: must be keys with values, not a list"),
    ],
)
def test_a_problem_is_told_with_its_line_and_place(path: Path, text: str, line: int, problem: str) -> None:
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_document(Menu, path)
    assert str(caught.value).startswith(f"{path}:{line}: {problem}")
    assert "\n" not in str(caught.value)


def test_a_bomb_of_aliases_is_refused_quickly(path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path.write_text("\n".join([*lines, "name: *a11"]))
    with pytest.raises(SpecError, match=r"unknown key|valid string"):
        read_document(Recipe, path)


def test_brackets_without_end_are_refused(path: Path) -> None:
    path.write_text("name: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(SpecError):
        read_document(Recipe, path)


def test_a_file_that_cannot_be_read_is_named(path: Path, tmp_path: Path) -> None:
    for wrong in (path, tmp_path):
        with pytest.raises(NotFoundError, match=f"cannot read {wrong}"):
            read_yaml(wrong)
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(TercetError, match=f"cannot read {path}"):
        read_yaml(path)


def test_documents_do_not_change_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe(name="x").cups = 2


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomically(taken, b"new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["taken"]
    assert (taken / "inside").exists()


def write_often(path: Path, data: bytes) -> None:
    for _ in range(20):
        write_atomically(path, data)


def test_readers_see_a_whole_file_while_threads_write_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    contents = [bytes([65 + number]) * 200_000 for number in range(4)]
    write_atomically(path, contents[0])
    writers = [threading.Thread(target=write_often, args=(path, data)) for data in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in contents
    for writer in writers:
        writer.join()
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
