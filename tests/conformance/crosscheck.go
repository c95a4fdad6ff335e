// Check what Scellé wrote with golang.org/x/mod/sumdb: tlog for trees, proofs and tiles, note for signed notes.
//
// Reads one JSON document on standard input. Prints "ok" lines for what was checked, then one line
// "note <JSON>" with a note signed here, for the other direction. Exits 1 at the first difference.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	Size, Old int64
	Index     int64
	Path      []string
}

type document struct {
	Leaves      []string
	Roots       map[string]string
	Inclusion   []proof
	Consistency []proof
	Tiles       map[string]string
	Size        int64
	Note, Vkey  string
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func unhex(text string) (hash tlog.Hash) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(hash) {
		fail("%q is no hash", text)
	}
	copy(hash[:], data)
	return hash
}

func hashes(texts []string) (list []tlog.Hash) {
	for _, text := range texts {
		list = append(list, unhex(text))
	}
	return list
}

func main() {
	var in document
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		fail("input: %v", err)
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, index := range indexes {
			list = append(list, stored[index])
		}
		return list, nil
	})
	roots := map[int64]tlog.Hash{}
	for number, text := range in.Leaves {
		data, err := hex.DecodeString(text)
		if err != nil {
			fail("leaf: %v", err)
		}
		added, err := tlog.StoredHashes(int64(number), data, reader)
		if err != nil {
			fail("stored hashes: %v", err)
		}
		stored = append(stored, added...)
		root, err := tlog.TreeHash(int64(number+1), reader)
		if err != nil {
			fail("tree hash: %v", err)
		}
		roots[int64(number+1)] = root
	}
	for size, text := range in.Roots {
		var number int64
		fmt.Sscan(size, &number)
		if roots[number] != unhex(text) {
			fail("root of %d leaves differs", number)
		}
	}
	for _, p := range in.Inclusion {
		leaf := stored[tlog.StoredHashIndex(0, p.Index)]
		if err := tlog.CheckRecord(hashes(p.Path), p.Size, roots[p.Size], p.Index, leaf); err != nil {
			fail("inclusion of %d in %d: %v", p.Index, p.Size, err)
		}
	}
	for _, p := range in.Consistency {
		if err := tlog.CheckTree(hashes(p.Path), p.Size, roots[p.Size], p.Old, roots[p.Old]); err != nil {
			fail("consistency of %d with %d: %v", p.Old, p.Size, err)
		}
	}
	fmt.Println("ok trees")

	known := map[string]string{}
	for _, tile := range tlog.NewTiles(8, 0, in.Size) { // every width that a partial tile had on the way
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			fail("tile: %v", err)
		}
		known["tile/"+strings.TrimPrefix(tile.Path(), "tile/8/")] = hex.EncodeToString(data)
	}
	for path, data := range in.Tiles {
		if data != known[path] {
			fail("%s differs", path)
		}
	}
	fmt.Println("ok tiles")

	verifier, err := note.NewVerifier(in.Vkey)
	if err != nil {
		fail("vkey: %v", err)
	}
	opened, err := note.Open([]byte(in.Note), note.VerifierList(verifier))
	if err != nil || len(opened.Sigs) != 1 {
		fail("note: %v", err)
	}
	if _, err := tlog.ParseTree([]byte("go.sum database tree\n" + opened.Text[strings.Index(opened.Text, "\n")+1:])); err != nil {
		fail("checkpoint body: %v", err)
	}
	fmt.Println("ok note")

	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), "other.example/log")
	if err != nil {
		fail("key: %v", err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		fail("signer: %v", err)
	}
	signed, err := note.Sign(&note.Note{Text: "one\n\ntwo\n"}, signer)
	if err != nil {
		fail("sign: %v", err)
	}
	out, _ := json.Marshal(map[string]string{"note": string(signed), "vkey": vkey})
	fmt.Printf("note %s\n", out)
}
