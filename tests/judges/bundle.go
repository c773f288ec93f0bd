// The only place for the Go team's verdict on an exported bundle: its checkpoint, entries, tiles and
// proofs, read from the folder as anybody would.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// bundle judges an exported bundle's folder; q.Keys are used in place of its own log.vkey.
func bundle(q *question) (a answer, err error) {
	file := func(name string) []byte {
		data, e := os.ReadFile(filepath.Join(q.Folder, name))
		if e != nil && err == nil {
			err = e
		}
		return data
	}
	keys := q.Keys
	if keys == nil {
		keys = lines(file("log.vkey"))
	}
	checkpoint, entries := file("checkpoint"), file("entries.jsonl")
	if err != nil {
		return a, err
	}
	tree, err := openCheckpoint(checkpoint, keys)
	if err != nil {
		return a, err
	}
	a.Size, a.Root = tree.N, &tree.Hash
	if err := checkEntries(q, tree, entries); err != nil {
		return a, err
	}
	if err := checkPrevious(q, tree, keys); err != nil {
		return a, err
	}
	return a, checkProofs(q, entries, keys)
}

// lines are the lines of a text, each of which ends in a newline; what follows the last one counts.
func lines(text []byte) []string {
	split := strings.Split(string(text), "\n")
	if split[len(split)-1] == "" {
		split = split[:len(split)-1]
	}
	return split
}

// checkEntries compares every entry with its leaf in the tiles, all of which it reads through
// TileHashReader: that authenticates them by the tree. A whole log's root is computed anew as well.
func checkEntries(q *question, tree tlog.Tree, text []byte) error {
	var leaves [][]byte
	for _, line := range lines(text) {
		leaves = append(leaves, []byte(line))
	}
	if q.First+int64(len(leaves)) != tree.N {
		return fmt.Errorf("%d entries from %d are not those of a tree of %d", len(leaves), q.First, tree.N)
	}
	if q.First == 0 {
		if a, err := rootOf(leaves); err != nil || *a.Root != tree.Hash {
			return fmt.Errorf("the entries' root is not the checkpoint's (%v)", err)
		}
	}
	for start := int64(0); start < tree.N; start += 4096 {
		all := question{Folder: q.Folder, Size: tree.N, Root: tree.Hash}
		for i := start; i < min(start+4096, tree.N); i++ {
			all.Indexes = append(all.Indexes, i)
		}
		a, err := fromTiles(&all)
		if err != nil {
			return err
		}
		for n, i := range all.Indexes {
			if i >= q.First && a.Hashes[n] != tlog.RecordHash(leaves[i-q.First]) {
				return fmt.Errorf("the entry %d is not its leaf", i)
			}
		}
	}
	return nil
}

func hashes(text []string) (path []tlog.Hash, err error) {
	for _, line := range text {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		path = append(path, hash)
	}
	return path, nil
}

func checkPrevious(q *question, tree tlog.Tree, keys []string) error {
	folder := filepath.Join(q.Folder, "previous")
	msg, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if os.IsNotExist(err) {
		return nil
	}
	old, err := openCheckpoint(msg, keys)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(folder, "consistency"))
	if err != nil {
		return err
	}
	path, err := hashes(lines(text))
	if err != nil {
		return err
	}
	return tlog.CheckTree(path, tree.N, tree.Hash, old.N, old.Hash)
}

// checkProofs checks each of proofs/*.tlog-proof (C2SP tlog-proof) against the entry it is for.
func checkProofs(q *question, entries []byte, keys []string) error {
	leaves := lines(entries)
	files, err := filepath.Glob(filepath.Join(q.Folder, "proofs", "*.tlog-proof"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		head, checkpoint, _ := bytes.Cut(text, []byte("\n\n"))
		tree, err := openCheckpoint(checkpoint, keys)
		if err != nil {
			return err
		}
		var index int64
		proof := lines(head)
		if len(proof) < 2 || proof[0] != "c2sp.org/tlog-proof@v1" {
			return errors.New("not a tlog-proof")
		}
		if _, err := fmt.Sscanf(proof[1], "index %d", &index); err != nil {
			return err
		}
		if filepath.Base(name) != fmt.Sprintf("%d.tlog-proof", index) || index < q.First {
			return errors.New("a proof of another entry than it is named after")
		}
		path, err := hashes(proof[2:])
		if err != nil {
			return err
		}
		leaf := tlog.RecordHash([]byte(leaves[index-q.First]))
		if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, leaf); err != nil {
			return err
		}
	}
	return err
}
