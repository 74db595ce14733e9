"""Public data is found under a model's name by its provider, never a reseller's word, and its absence is said."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from shared.catalogue.facts.models_dev import ModelDataUnavailable, ModelsDev, model_data, read_model_data
from shared.catalogue.facts.providers import provider_of
from tests.unit.catalogue.examples import FOUND, NOT_FOUND

GPT: dict[str, Any] = {
    "name": "GPT-4o",
    "last_updated": "2024-08-06",
    "attachment": True,
    "reasoning": False,
    "tool_call": True,
    "limit": {"context": 128000, "output": 16384},
    "modalities": {"input": ["text", "image"], "output": ["text"]},
}


def data_of(folder: Path, document: object) -> ModelsDev:
    file = folder / "data.json.gz"
    file.write_bytes(gzip.compress(json.dumps(document).encode()))
    return read_model_data(file, version="1.2.3")


@pytest.mark.parametrize(("name", "source", "id_"), FOUND)
def test_a_listed_model_is_known_from_its_providers_record_or_a_named_hosts(name: str, source: str, id_: str) -> None:
    stated = model_data().find(name, provider_of(name))

    assert stated is not None
    assert (stated.source, stated.detail) == (source, id_)
    assert stated.date is not None


@pytest.mark.parametrize("name", NOT_FOUND)
def test_a_model_that_the_data_does_not_surely_know_is_unknown(name: str) -> None:
    assert model_data().find(name, provider_of(name)) is None


def test_the_data_tells_its_own_age() -> None:
    assert model_data().version
    assert model_data().date >= "2026"


def test_a_record_tells_what_it_states_and_nothing_else(tmp_path: Path) -> None:
    stated = data_of(tmp_path, {"openai": {"models": {"gpt-4o": GPT}}}).find("gpt 4o", "openai")

    assert stated is not None
    assert stated.values == {
        "context_window": 128000,
        "max_output": 16384,
        "supports_tools": True,
        "supports_reasoning": False,
        "supports_vision": True,
        "supports_audio": False,
        "supports_files": True,
    }
    assert stated.provenance() == {"source": "models-dev:openai", "detail": "gpt-4o", "date": "2024-08-06"}


def test_the_providers_record_comes_before_a_hosts_and_a_resellers_is_never_read(tmp_path: Path) -> None:
    def publisher(context: int) -> dict[str, Any]:
        return {"models": {"gpt-4o": {**GPT, "limit": {"context": context}}}}

    hosts = {"azure": publisher(2), "openrouter": publisher(3)}
    own = data_of(tmp_path, {**hosts, "openai": publisher(1)}).find("GPT-4o", "openai")
    hosted = data_of(tmp_path, hosts).find("GPT-4o", "openai")
    resold = data_of(tmp_path, {"openrouter": publisher(3)}).find("GPT-4o", "openai")

    assert own is not None
    assert hosted is not None
    assert (own.source, own.values["context_window"]) == ("models-dev:openai", 1)
    assert (hosted.source, hosted.values["context_window"]) == ("models-dev:azure", 2)
    assert resold is None


def test_where_a_providers_records_of_one_name_differ_the_capability_is_unknown(tmp_path: Path) -> None:
    named = {
        "a": {**GPT, "limit": {"context": 1, "output": 5}, "last_updated": "2024-05-13"},
        "b": {**GPT, "limit": {"context": 2, "output": 5}, "last_updated": "2024-11-20"},
    }

    data = data_of(tmp_path, {"openai": {"models": named}})

    for name in ("GPT-4o", "gpt-4o"):
        stated = data.find(name, "openai")
        assert stated is not None
        assert stated.detail == "b"
        assert "context_window" not in stated.values
        assert stated.values["max_output"] == 5


def test_a_hosts_false_is_unknown_and_its_true_is_not(tmp_path: Path) -> None:
    stated = data_of(tmp_path, {"amazon-bedrock": {"models": {"openai.gpt-4o-1:0": GPT}}}).find("GPT-4o", "openai")

    assert stated is not None
    assert stated.values["supports_vision"] is True
    assert "supports_reasoning" not in stated.values
    assert "supports_audio" not in stated.values


@pytest.mark.parametrize(
    "name", ["GPT-4o Preview", "GPT-4o (2024-08-06)", "GPT-4o Mini", "GPT-4o Latest", "GPT-4o Instruct"]
)
def test_nothing_is_taken_from_the_record_of_another_model(tmp_path: Path, name: str) -> None:
    assert data_of(tmp_path, {"openai": {"models": {"gpt-4o": GPT}}}).find(name, "openai") is None


def test_a_hosts_id_that_says_less_than_its_name_names_no_other_model(tmp_path: Path) -> None:
    record = {**GPT, "name": "DeepSeek-V3.1", "reasoning": True}
    data = data_of(tmp_path, {"amazon-bedrock": {"models": {"deepseek.v3-v1:0": record}}})

    assert data.find("DeepSeek V3", "deepseek") is None
    assert data.find("DeepSeek V3.1", "deepseek") is not None
    assert data.find("deepseek.v3-v1:0", "deepseek") is not None


def test_a_hosts_name_for_what_the_provider_lists_itself_means_the_providers_record(tmp_path: Path) -> None:
    hosted = {"models": {"gpt-4o-2024": {**GPT, "name": "GPT-4o", "limit": {"context": 2}}}}
    stated = data_of(tmp_path, {"openai": {"models": {"gpt-4o": GPT}}, "azure": hosted}).find("gpt-4o-2024", "openai")

    assert stated is not None
    assert (stated.source, stated.values["context_window"]) == ("models-dev:openai", 128000)


def test_a_reasoning_variant_is_not_told_by_a_record_without_reasoning(tmp_path: Path) -> None:
    data = data_of(
        tmp_path, {"openai": {"models": {"gpt-4o": GPT, "gpt-5": {**GPT, "name": "GPT-5", "reasoning": True}}}}
    )

    assert data.find("GPT-5 - Reasoning", "openai") is not None
    assert data.find("GPT-4o - Reasoning", "openai") is None


@pytest.mark.parametrize("status", ["beta", "deprecated"])
def test_a_records_status_is_shown(tmp_path: Path, status: str) -> None:
    stated = data_of(tmp_path, {"openai": {"models": {"gpt-4o": {**GPT, "status": status}}}}).find("GPT-4o", "openai")

    assert stated is not None
    assert stated.detail == f"gpt-4o ({status})"


@pytest.mark.parametrize("status", [None, 3, {"a": 1}, "no word at all!"])
def test_a_status_that_is_no_word_is_left_out(tmp_path: Path, status: object) -> None:
    stated = data_of(tmp_path, {"openai": {"models": {"gpt-4o": {**GPT, "status": status}}}}).find("GPT-4o", "openai")

    assert stated is not None
    assert stated.detail == "gpt-4o"


def test_records_that_are_not_understood_cost_only_themselves(tmp_path: Path) -> None:
    models = {"gpt-4o": GPT, "x": None, "gpt-5": {"name": 5, "limit": [], "modalities": "text", "tool_call": "yes"}}

    data = data_of(tmp_path, {"openai": {"models": models}, "google": 7, "xai": {"models": []}})

    assert data.find("GPT-4o", "openai") is not None
    bare = data.find("GPT-5", "openai")
    assert bare is not None
    assert bare.values == {}


@pytest.mark.parametrize("document", [[], 7, None, {}, {"openai": {"models": {"x": {}}}}])
def test_data_of_another_form_is_unavailable(tmp_path: Path, document: object) -> None:
    with pytest.raises(ModelDataUnavailable, match=r"models-dev 1\.2\.3: "):
        data_of(tmp_path, document)


# mtime=0: a time in these bytes would be in the tests' names, which two test processes must agree on.
BROKEN = (b"", b"not gzip", gzip.compress(b"{", mtime=0), gzip.compress(b"[]" * 9, mtime=0)[:-12])


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_unavailable(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data.json.gz"
    file.write_bytes(content)

    with pytest.raises(ModelDataUnavailable):
        read_model_data(file, version="1.2.3")


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelDataUnavailable, match="FileNotFoundError"):
        read_model_data(tmp_path / "none", version="1.2.3")
