"""The only place for the offline embedding model: wordllama, 256 dimensions, shipped in a wheel."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as package_version
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

MODEL = "wordllama-256"
DIMENSIONS = 256
TOKENS_AT_ONCE = 4096
CHARACTERS_AT_ONCE = 20_000


class Embedding(msgspec.Struct, frozen=True):
    """Unit vectors in the order of the texts, and the tokens that were read."""

    vectors: list[list[float]]
    tokens: int


class _Model(msgspec.Struct, frozen=True):
    tokenizer: Any
    rows: NDArray[np.float32]


_loading = Lock()
_loaded: list[_Model] = []


def loaded() -> bool:
    """Whether the model is in memory already: loading takes about a second."""
    return bool(_loaded)


def version() -> str:
    """Names the exact model: the version of the package that ships its weights."""
    return package_version("wordllama")


def embed(texts: Sequence[str], dimensions: int = DIMENSIONS) -> Embedding:
    """The mean of each text's token vectors, cut to `dimensions` and scaled to length 1.

    A text's vector does not depend on the texts beside it. A text without any token (an empty
    one) has the zero vector, which is near to nothing.
    """
    model = _model()
    vectors, read = [], 0
    for text in texts:
        ids = _ids(model, text)
        read += len(ids)
        vectors.append(_pooled(model.rows, ids, dimensions).tolist())
    return Embedding(vectors=vectors, tokens=read)


def _ids(model: _Model, text: str) -> NDArray[np.int64]:
    """Token ids; very long texts are tokenized in parts, which bounds memory."""
    clean = text.encode("utf-8", "replace").decode()
    parts = range(0, max(1, len(clean)), CHARACTERS_AT_ONCE)
    ids = [
        one
        for start in parts
        for one in model.tokenizer.encode(
            clean[start : start + CHARACTERS_AT_ONCE], add_special_tokens=False
        ).ids
    ]
    return np.clip(np.asarray(ids, dtype=np.int64), 0, len(model.rows) - 1)


def _pooled(
    rows: NDArray[np.float32], ids: NDArray[np.int64], dimensions: int
) -> NDArray[np.float32]:
    total = np.zeros(rows.shape[1], dtype=np.float32)
    for start in range(0, len(ids), TOKENS_AT_ONCE):
        total += rows[ids[start : start + TOKENS_AT_ONCE]].sum(axis=0, dtype=np.float32)
    kept = total[:dimensions]
    length = float(np.linalg.norm(kept))
    return kept / np.float32(length) if length else kept


def _model() -> _Model:
    """The model, loaded by the first caller of this process; others wait for it."""
    if not _loaded:
        with _loading:
            if not _loaded:
                _loaded.append(_load())
    return _loaded[0]


def _load() -> _Model:
    """Load weights and tokenizer from the package's own folder; nothing is ever downloaded.

    Left to itself, the package looks for its tokenizer in a folder that its wheel does not have
    and then asks the network.
    """
    with _logging_untouched():
        import wordllama  # noqa: PLC0415  - half a second and 60 MB, only for who embeds

        folder = Path(wordllama.__file__).parent
        model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True, dim=DIMENSIONS)
    model.tokenizer.no_padding()
    return _Model(tokenizer=model.tokenizer, rows=model.embedding)


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """The package configures the root logger when it is imported: undo that."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
