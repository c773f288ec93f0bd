// The only place for the Go team's verdict on our output. Glue: it reads questions as JSON, one after
// the other, and answers each with a line. Every hash and signature is their code's:
// golang.org/x/mod/sumdb/{note,tlog}.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Ask                     string
	Note                    []byte
	Keys                    []string
	Path                    []tlog.Hash
	Size, Old, Index, First int64
	Root, OldRoot, Leaf     tlog.Hash
	Leaves                  [][]byte
	Folder, Tile            string
	Indexes                 []int64
}

type answer struct {
	Error   string      `json:"error,omitempty"`
	Text    string      `json:"text,omitempty"`
	Signers []string    `json:"signers,omitempty"`
	Size    int64       `json:"size"`
	Root    *tlog.Hash  `json:"root,omitempty"`
	Path    []tlog.Hash `json:"path,omitempty"`
	Hashes  []tlog.Hash `json:"hashes,omitempty"`
	Tiles   []string    `json:"tiles,omitempty"`
}

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q question
		if in.Decode(&q) != nil {
			return
		}
		a, err := judge(&q)
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

func judge(q *question) (a answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	switch q.Ask {
	case "note":
		return openNote(q.Note, q.Keys)
	case "record":
		return a, tlog.CheckRecord(q.Path, q.Size, q.Root, q.Index, q.Leaf)
	case "tree":
		return a, tlog.CheckTree(q.Path, q.Size, q.Root, q.Old, q.OldRoot)
	case "root":
		return rootOf(q.Leaves)
	case "hashes", "prove_record", "prove_tree":
		return fromTiles(q)
	case "tiles":
		return tilesOf(q), nil
	case "tile":
		_, err := tlog.ParseTilePath(strings.Replace(q.Tile, "tile/", "tile/8/", 1))
		return a, err
	case "bundle":
		return bundle(q)
	}
	return a, errors.New("unknown question")
}

// openNote opens a signed note. A key of an algorithm that they do not know is not used.
func openNote(msg []byte, keys []string) (a answer, err error) {
	var known []note.Verifier
	for _, key := range keys {
		v, err := note.NewVerifier(key)
		if err == nil {
			known = append(known, v)
		} else if err.Error() != "unknown verifier algorithm" {
			return a, err
		}
	}
	n, err := note.Open(msg, note.VerifierList(known...))
	if err != nil {
		return a, err
	}
	for _, s := range n.Sigs {
		a.Signers = append(a.Signers, fmt.Sprintf("%s+%08x", s.Name, s.Hash))
	}
	a.Text = n.Text
	return a, nil
}

// openCheckpoint opens a note whose text is a checkpoint signed by its own origin.
func openCheckpoint(msg []byte, keys []string) (tree tlog.Tree, err error) {
	a, err := openNote(msg, keys)
	if err != nil {
		return tree, err
	}
	origin, rest, _ := strings.Cut(a.Text, "\n")
	for _, signer := range a.Signers {
		if strings.HasPrefix(signer, origin+"+") {
			return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
		}
	}
	return tree, errors.New("the origin has not signed the checkpoint")
}

func rootOf(leaves [][]byte) (a answer, err error) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for i, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(i), leaf, read)
		if err != nil {
			return a, err
		}
		stored = append(stored, hashes...)
	}
	a.Size = int64(len(leaves))
	root, err := tlog.TreeHash(a.Size, read)
	a.Root = &root
	return a, err
}

// tileFolder reads tiles under the paths of C2SP tlog-tiles, which leave out the height of 8.
type tileFolder string

func c2spPath(t tlog.Tile) string { return strings.Replace(t.Path(), "tile/8/", "tile/", 1) }

func (tileFolder) Height() int                         { return 8 }
func (tileFolder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f tileFolder) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		hashes, err := os.ReadFile(filepath.Join(string(f), c2spPath(t)))
		if err != nil {
			return nil, err
		}
		data = append(data, hashes)
	}
	return data, nil
}

func fromTiles(q *question) (a answer, err error) {
	reader := tlog.TileHashReader(tlog.Tree{N: q.Size, Hash: q.Root}, tileFolder(q.Folder))
	switch q.Ask {
	case "prove_record":
		a.Path, err = tlog.ProveRecord(q.Size, q.Index, reader)
	case "prove_tree":
		a.Path, err = tlog.ProveTree(q.Size, q.Old, reader)
	default:
		var stored []int64
		for _, i := range q.Indexes {
			stored = append(stored, tlog.StoredHashIndex(0, i))
		}
		a.Hashes, err = reader.ReadHashes(stored)
	}
	return a, err
}

func tilesOf(q *question) (a answer) {
	for _, t := range tlog.NewTiles(8, q.Old, q.Size) {
		a.Tiles = append(a.Tiles, c2spPath(t))
	}
	return a
}
