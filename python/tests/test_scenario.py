"""Loading and editing scenarios, and what is said about wrong ones."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from conftest import TEXT

import tokentide as tt

TOP_K = "class.rag.prompt.retrieved.top_k"


def retrieved(scenario: tt.Scenario) -> float:
    """Retrieved tokens per request of the class that retrieves."""
    rag = tt.simulate(scenario).to_dict()["classes"][0]
    return rag["input_tokens_by_source"]["retrieved"] / rag["requests"]


def test_a_file_and_its_text_are_the_same_scenario(small: tt.Scenario, small_file: Path) -> None:
    for path in (small_file, str(small_file)):
        loaded = tt.Scenario.load(path)
        assert (loaded.name, loaded.seed, loaded.classes) == ("small", 42, ["rag", "chat"])
        assert loaded.hash == small.hash
        assert loaded.text == TEXT and loaded.overrides == []


def test_edits_make_a_copy_that_behaves_differently(small: tt.Scenario) -> None:
    edited = small.with_({TOP_K: 12})
    assert (retrieved(small), retrieved(edited)) == (4 * 500, 12 * 500)
    assert small.overrides == [] and edited.overrides == [(TOP_K, "12")]
    assert small.hash != edited.hash


def test_edits_are_what_set_is(small: tt.Scenario, small_file: Path) -> None:
    change = {TOP_K: 12, "cluster.router": "round-robin"}
    hashes = {
        small.with_(change).hash,
        small.with_({TOP_K: 12}).with_({"cluster.router": "round-robin"}).hash,
        tt.Scenario.load(small_file, set=change).hash,
        tt.Scenario.parse(TEXT, set=change, filename="small.toml").hash,
        tt.Scenario.parse(TEXT.replace("top_k = 4", "top_k = 12").replace("least-tokens", "round-robin")).hash,
    }
    assert len(hashes) == 1
    assert small.with_({TOP_K: 12}).with_({TOP_K: 4}).hash == small.hash, "the last edit of a path wins"


class Index:
    """As numpy's integers are: no int, but usable as one."""

    def __index__(self) -> int:
        return 12


@pytest.mark.parametrize(
    ("path", "value", "toml"),
    [
        (TOP_K, 12, "12"),
        (TOP_K, Index(), "12"),
        ("class.rag.arrivals.cv", 1.25, "1.25"),
        ("class.rag.arrivals.cv", Decimal("1.25"), "1.25"),
        ("engine.enable_prefix_caching", False, "false"),
        ("class.chat.tenant", "12", '"12"'),
        ("class.chat.tenant", Path("a") / "b", '"a/b"'),
        ("buckets.input", [100, 1000], "[100, 1000]"),
        ("buckets.input", (100, 1000), "[100, 1000]"),
        ("class.rag.prompt.retrieved", {"top_k": 3, "chunk": {"median": 400, "p95": 600}}, None),
    ],
)
def test_values_keep_their_type(small: tt.Scenario, path: str, value: object, toml: str | None) -> None:
    edited = small.with_({path: value})
    assert toml is None or edited.overrides == [(path, toml)]
    assert edited.hash != small.hash


@pytest.mark.parametrize(
    "text", ["it's", 'say "hi"', "a\\b", "größer", "tab\there", "two\nlines", "\x7f", "= 3 # no", "'''", '"""']
)
def test_any_text_survives(small: tt.Scenario, text: str) -> None:
    assert small.with_({"name": text}).name == text


@pytest.mark.parametrize(
    ("value", "error"),
    [(None, TypeError), (object(), TypeError), ({1: 2}, TypeError), (range(3), TypeError), (2**63, OverflowError)],
)
def test_values_without_a_meaning_are_refused(small: tt.Scenario, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="cluster.replicas"):
        small.with_({"cluster.replicas": value})


def test_a_list_within_itself_is_refused(small: tt.Scenario) -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="levels deep"):
        small.with_({"cluster.replicas": endless})


def test_paths_are_texts(small: tt.Scenario) -> None:
    with pytest.raises(TypeError, match="path of a setting"):
        small.with_({1: 2})  # type: ignore[dict-item]


def test_errors_say_where_and_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(TEXT.replace("replicas = 2", "replica = 2").replace("max_tokens = 1024", "max_tokens = -1"))
    with pytest.raises(tt.ScenarioError) as caught:
        tt.Scenario.load(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}:12:1: unknown key `replica` (did you mean `replicas`?)"
    assert lines[1].startswith(f"{path}:26:14: expected a whole number")
    first = caught.value.problems[0]
    assert (first["file"], first["line"], first["column"]) == (str(path), 12, 1)
    assert (first["message"], first["help"]) == ("unknown key `replica`", "did you mean `replicas`?")
    assert len(caught.value.problems) == len(lines)
    assert isinstance(caught.value, ValueError)


def test_errors_in_edits_show_the_edit(small: tt.Scenario) -> None:
    with pytest.raises(tt.ScenarioError) as caught:
        small.with_({"class.raag.prompt.retrieved.top_k": 12})
    assert str(caught.value) == "class.raag.prompt.retrieved.top_k=12:1:7: there is no class named `raag` (did you mean `rag`?)"


def test_broken_toml_and_missing_files_are_scenario_errors(tmp_path: Path) -> None:
    with pytest.raises(tt.ScenarioError, match=r"^text\.toml:1:4: not valid TOML"):
        tt.Scenario.parse("x =", filename="text.toml")
    with pytest.raises(tt.ScenarioError, match="absent.toml: cannot read the scenario") as caught:
        tt.Scenario.load(tmp_path / "absent.toml")
    assert caught.value.problems[0]["line"] is None


def test_a_trace_is_found_beside_the_scenario(tmp_path: Path) -> None:
    deployment = TEXT[TEXT.index("[model]") : TEXT.index("[[class]]")]
    path = tmp_path / "replay.toml"
    path.write_text(deployment + '[trace]\npath = "trace.csv"\n')
    with pytest.raises(tt.ScenarioError, match="trace.csv"):
        tt.simulate(tt.Scenario.load(path))
    (tmp_path / "trace.csv").write_text("arrival_s,input_tokens,output_tokens\n0.5,100,10\n1.0,200,20\n")
    assert tt.simulate(tt.Scenario.load(path)).summary["input_tokens"] == 300
    (tmp_path / "trace.csv").write_text("arrival_s,input_tokens,output_tokens\n0.5,100,10\n1.0,many,20\n")
    with pytest.raises(tt.ScenarioError, match="trace.csv:3") as caught:
        tt.simulate(tt.Scenario.load(path))
    assert caught.value.problems[0]["line"] == 3


def test_scenarios_cannot_be_changed(small: tt.Scenario) -> None:
    with pytest.raises(AttributeError):
        small.name = "other"  # type: ignore[misc]
    assert repr(small.with_({TOP_K: 12})) == f'Scenario("small", {TOP_K}=12)'
