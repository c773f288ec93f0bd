"""The only place for what the offline embedding model promises."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import numpy as np
import pytest
from test_offline_protocol import endpoint

from gateway.providers.offline import Offline, embedding
from gateway.providers.protocol import ProviderRefused

MODEL = endpoint(embedding.MODEL)


async def test_a_text_becomes_a_unit_vector_of_256_dimensions() -> None:
    answer = await Offline().embed(MODEL, ["The tent is waterproof."])
    assert len(answer.vectors[0]) == 256
    assert np.linalg.norm(answer.vectors[0]) == pytest.approx(1, abs=1e-5)
    assert answer.version == version("wordllama")
    assert answer.tokens
    assert answer.tokens > 3


async def test_near_meanings_are_nearer() -> None:
    texts = ["refund for a broken item", "money back for a damaged product", "weather in Paris"]
    refund, money, weather = np.array((await Offline().embed(MODEL, texts)).vectors)
    assert refund @ money > refund @ weather


async def test_a_vector_does_not_depend_on_its_neighbours() -> None:
    alone = (await Offline().embed(MODEL, ["tent"])).vectors[0]
    together = (await Offline().embed(MODEL, ["a long " * 2000, "tent", ""])).vectors[1]
    assert alone == together


async def test_vectors_are_those_of_the_package_itself() -> None:
    import wordllama

    folder = wordllama.__path__[0]
    loaded = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    theirs = loaded.embed(["refund policy", "a tent"], norm=True)
    ours = (await Offline().embed(MODEL, ["refund policy", "a tent"])).vectors
    assert np.allclose(theirs, ours, atol=1e-5)


async def test_an_empty_text_is_near_to_nothing() -> None:
    answer = await Offline().embed(MODEL, ["", "tent"])
    assert not any(answer.vectors[0])
    assert any(answer.vectors[1])


async def test_fewer_dimensions_are_a_unit_vector_too() -> None:
    cut = (await Offline().embed(endpoint(embedding.MODEL, dimensions=64), ["tent"])).vectors[0]
    assert len(cut) == 64
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)


async def test_more_dimensions_than_it_has_are_refused() -> None:
    with pytest.raises(ProviderRefused):
        await Offline().embed(endpoint(embedding.MODEL, dimensions=512), ["tent"])


async def test_many_texts_leave_the_event_loop_free() -> None:
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.001)

    heart = asyncio.create_task(beat())
    await Offline().embed(MODEL, ["a sentence of some length about tents"] * 5000)
    heart.cancel()
    assert len(beats) > 3


def test_threads_that_come_at_once_load_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    load = embedding._load

    def counted() -> embedding._Model:
        loads.append(1)
        return load()

    monkeypatch.setattr(embedding, "_loaded", [])
    monkeypatch.setattr(embedding, "_load", counted)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(embedding.embed, [["tent"]] * 8))
    assert loads == [1]


def test_what_its_import_does_to_the_root_logger_is_undone() -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with embedding._logging_untouched():
        root.addHandler(logging.NullHandler())
        root.setLevel(logging.DEBUG)
    assert (root.level, list(root.handlers)) == before
