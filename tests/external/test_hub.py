"""Revisions on the Hugging Face hub, from a cache laid out as its client lays it out: no network."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import tiny_lm
from polca.errors import PolcaError

NAME = "some-lab/tiny-neox"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm.train("gpt_neox", tmp_path_factory.mktemp("trained"))


@pytest.fixture
def hub(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's cache with every checkpoint as a revision, and a hub that lists these and some odd names."""
    import huggingface_hub
    from huggingface_hub import constants

    home = tmp_path / "hub"
    model = home / f"models--{NAME.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    names = [p.name for p in sorted(trained.glob("step*"))]
    for number, name in enumerate(names):
        commit = f"{number:040x}"
        (model / "refs" / name).write_text(commit)
        shutil.copytree(trained / name, model / "snapshots" / commit)
        for file in trained.glob("tokenizer*"):
            shutil.copy(file, model / "snapshots" / commit)
    for module in (constants, __import__("transformers").utils.hub):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(home), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    odd = ["main", "../step7", "step7/../../x", "step", "-step8", "step9; rm -rf ."]

    def refs(name: str, **_: Any) -> Any:
        assert name == NAME
        return SimpleNamespace(branches=[SimpleNamespace(name=n) for n in (*names, *odd)], tags=[])

    monkeypatch.setattr(huggingface_hub, "list_repo_refs", refs)
    return home


def test_revisions(hub: Path, trained: Path) -> None:
    """Every revision named after a step, and no other; weights and tokenizer as the local folders give them."""
    from polca.external.hub import open_causal_lm

    found, local = open_causal_lm(NAME), open_causal_lm(str(trained))
    assert not found.local
    assert list(found.steps()) == list(local.steps()) == list(range(0, 201, 25))
    for step in (0, 200):
        here, there = local.load(step), found.load(step)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[name], there[name]) for name in here)
    assert found.tokenizer()("the cat")["input_ids"] == tiny_lm.tokenizer()("the cat")["input_ids"]


def test_missing_revision(hub: Path) -> None:
    from polca.external.hub import open_causal_lm

    found = open_causal_lm(NAME)
    (hub / f"models--{NAME.replace('/', '--')}" / "refs" / "step25").unlink()
    with pytest.raises(PolcaError, match=f"{NAME}, revision step25: no causal language model") as error:
        found.load(25)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../x", "a/b/c", "a..b", "https://x.org/a", "a b", "", "~/models", "/no/such/folder"])
def test_names_that_are_no_repository(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the hub is asked."""
    import huggingface_hub

    from polca.external.hub import open_causal_lm

    monkeypatch.setattr(huggingface_hub, "list_repo_refs", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(PolcaError) as error:
        open_causal_lm(name)
    assert "\n" not in str(error.value)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from polca.external.hub import open_causal_lm

    def offline(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "list_repo_refs", offline)
    with pytest.raises(PolcaError, match=r"the hub gives no list of its revisions.*no route to host.*step1000"):
        open_causal_lm(NAME)


def test_every_revision_is_opened(hub: Path) -> None:
    """Before anything is computed: a revision that is gone, or whose weights are cut off."""
    from polca.external.headers import check_hub
    from polca.external.hub import open_causal_lm

    found = open_causal_lm(NAME)
    assert check_hub(found, found.steps()) == set()
    assert [p.name for p in found.files(25)] == ["config.json", "model.safetensors"]
    model = hub / f"models--{NAME.replace('/', '--')}"
    weights = next((model / "snapshots" / (model / "refs" / "step50").read_text()).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(PolcaError, match=r"not a readable safetensors file"):
        check_hub(found, found.steps())
    (model / "refs" / "step25").unlink()
    with pytest.raises(PolcaError, match=f"{NAME}, revision step25: .*") as error:
        check_hub(found, found.steps())
    assert "\n" not in str(error.value)
