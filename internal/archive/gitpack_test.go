package archive

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"testing"
	"time"
)

func testTime() time.Time { return time.Unix(1, 0) }

// summed gives a git bundle the checksum that it should have, which a fuzzer does not find.
func summed(raw []byte) []byte {
	at := bytes.Index(raw, []byte("PACK"))
	if at < 0 || len(raw)-at < sha1.Size {
		return raw
	}
	end := len(raw) - sha1.Size
	sum := sha1.Sum(raw[min(at, end):end])
	return append(bytes.Clone(raw[:end]), sum[:]...)
}

// object writes one of a pack, with a head that may lie.
func object(kind int, size int, base, content []byte) []byte {
	out := []byte{byte(kind<<4 | size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		out[len(out)-1] |= 0x80
		out = append(out, byte(size&0x7f))
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(content)
	w.Close()
	return append(append(out, base...), z.Bytes()...)
}

func packOf(count int, objects ...[]byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(count))
	out = append(out, bytes.Join(objects, nil)...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

func TestPackRefused(t *testing.T) {
	blob := object(gitBlob, 3, nil, []byte("abc"))
	back := []byte{byte(len(blob))}
	delta := func(d ...byte) []byte { return object(gitOfsDelta, len(d), back, d) }
	for name, raw := range map[string][]byte{
		"nothing":              nil,
		"version":              []byte("PACK\x00\x00\x00\x09\x00\x00\x00\x00" + string(sumOf("PACK\x00\x00\x00\x09\x00\x00\x00\x00"))),
		"too many":             packOf(maxObjects + 1),
		"fewer than it says":   packOf(2, blob),
		"more than it says":    packOf(0, blob),
		"kind 0":               packOf(1, object(0, 3, nil, []byte("abc"))),
		"kind 5":               packOf(1, object(5, 3, nil, []byte("abc"))),
		"longer than it says":  packOf(1, object(gitBlob, 2, nil, []byte("abc"))),
		"shorter than it says": packOf(1, object(gitBlob, 4, nil, []byte("abc"))),
		"too large":            packOf(1, object(gitBlob, 1<<30, nil, []byte("abc"))),
		"endless size":         packOf(1, bytes.Repeat([]byte{0xff}, 20)),
		"no zlib":              packOf(1, []byte{0x33, 1, 2, 3, 4}),
		"base before start":    packOf(2, blob, object(gitOfsDelta, 1, []byte{0x7f}, []byte{1})),
		"itself as base":       packOf(2, blob, object(gitOfsDelta, 1, []byte{0}, []byte{1})),
		"endless base":         packOf(2, blob, object(gitOfsDelta, 1, bytes.Repeat([]byte{0xff}, 12), []byte{1})),
		"cut base":             packOf(1, []byte{gitRefDelta<<4 | 1, 1, 2}),
		"unknown base":         packOf(2, blob, object(gitRefDelta, 1, make([]byte, 20), []byte{1})),
		"empty delta":          packOf(2, blob, delta()),
		"other size of base":   packOf(2, blob, delta(4, 1, 1, 'x')),
		"delta beyond base":    packOf(2, blob, delta(3, 4, 0x90, 4)),
		"offset beyond base":   packOf(2, blob, delta(3, 1, 0x91, 9, 1)),
		"cut copy":             packOf(2, blob, delta(3, 1, 0x91)),
		"cut insert":           packOf(2, blob, delta(3, 3, 3, 'x')),
		"reserved":             packOf(2, blob, delta(3, 1, 0)),
		"less than it says":    packOf(2, blob, delta(3, 4, 1, 'x')),
		"more than promised":   packOf(2, blob, delta(3, 1, 2, 'x', 'y')),
		"large result":         packOf(2, blob, delta(3, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 'x')),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readPack(t.Context(), raw, small())
			if !isRefused(err) {
				t.Errorf("error %v, want it refused", err)
			}
			t.Log(err)
		})
	}
	good := packOf(2, blob, delta(3, 5, 0x90, 3, 2, 'x', 'y'))
	if _, err := readPack(t.Context(), good, small()); err != nil {
		t.Errorf("a whole pack: %v", err)
	}
}

// TestPackWork is about a small pack that takes much to read.
func TestPackWork(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 1000)
	objects := [][]byte{object(gitBlob, len(content), nil, content)}
	// Each makes 1000 bytes out of 1000.
	d := []byte{0xe8, 7, 0xe8, 7, 0xb0, 0xe8, 3}
	for range maxChain + 10 {
		last := len(objects[len(objects)-1])
		base := []byte{byte(last & 0x7f)}
		objects = append(objects, object(gitOfsDelta, len(d), base, d))
		if last > 0x7f {
			t.Fatal("the test cannot write so long an offset")
		}
	}
	if _, err := readPack(t.Context(), packOf(len(objects), objects...), small()); !isRefused(err) {
		t.Errorf("error %v, want it refused", err)
	}
}

func sumOf(text string) []byte {
	sum := sha1.Sum([]byte(text))
	return sum[:]
}
