package archive

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // git names objects so; what is trusted is the SHA-256 of the archive that is made
	"encoding/binary"
	"fmt"
	"io"
)

// Kinds of objects in a pack.
const (
	gitCommit   = 1
	gitTree     = 2
	gitBlob     = 3
	gitTag      = 4
	gitOfsDelta = 6
	gitRefDelta = 7
)

const (
	// maxObjects bounds a history.
	maxObjects = 500_000
	// maxChain bounds deltas on deltas; git writes 50, or 250 when told to be thorough.
	maxChain = 1024
	// maxRounds bounds deltas whose base comes later in the pack.
	maxRounds = 64
)

// gitPack holds a pack's bytes and where the objects are; their contents are made when asked for.
type gitPack struct {
	data  []byte
	at    map[int]*packed
	ids   map[objectID]*packed
	limit int64
	// work is how many bytes may yet be made: a pack of deltas on deltas is a bomb otherwise.
	work int64
	// cache holds contents up to room bytes.
	cache map[*packed][]byte
	room  int64
	err   func() error
}

// packed is an object, whole or as a delta on another.
type packed struct {
	kind   int
	size   int64
	start  int
	base   *packed
	baseID objectID
}

func packBroken(format string, args ...any) error {
	return refuse("", "this is no whole git bundle: %s; make it again", fmt.Sprintf(format, args...))
}

// readPack finds all objects and their names.
func readPack(ctx context.Context, data []byte, limits Limits) (*gitPack, error) {
	const head, tail = 12, sha1.Size
	if len(data) < head+tail || string(data[:4]) != "PACK" {
		return nil, packBroken("it has no pack")
	}
	end := len(data) - tail
	if sum := sha1.Sum(data[:end]); !bytes.Equal(sum[:], data[end:]) { //nolint:gosec // as above
		return nil, packBroken("its checksum is wrong, or something is behind its end")
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version != 2 && version != 3 {
		return nil, packBroken("its pack has version %d", version)
	}
	if count > maxObjects {
		return nil, refuse("", "this git bundle has more than %d objects: make it of a shallow clone, or use an archive of the files", maxObjects)
	}
	p := &gitPack{
		data: data[:end], limit: limits.FileBytes, at: map[int]*packed{}, ids: map[objectID]*packed{},
		work: 16 * limits.TotalBytes, cache: map[*packed][]byte{}, room: limits.TotalBytes, err: ctx.Err,
	}
	var deltas []*packed
	at := head
	for range count {
		object, next, err := p.index(at)
		if err != nil {
			return nil, err
		}
		if object.kind >= gitOfsDelta {
			deltas = append(deltas, object)
		}
		at = next
	}
	if at != end {
		return nil, packBroken("something is behind its last object")
	}
	return p, p.resolve(deltas)
}

// index reads the object at a place and says where the next one is.
func (p *gitPack) index(at int) (*packed, int, error) {
	r := bytes.NewReader(p.data[at:])
	first, err := r.ReadByte()
	if err != nil {
		return nil, 0, packBroken("its pack ends early")
	}
	object := &packed{kind: int(first >> 4 & 7), size: int64(first & 15)}
	for shift := 4; first&0x80 != 0; shift += 7 {
		if first, err = r.ReadByte(); err != nil || shift > 40 {
			return nil, 0, packBroken("an object's size cannot be read")
		}
		object.size |= int64(first&0x7f) << shift
	}
	if err := p.readBase(object, r, at); err != nil {
		return nil, 0, err
	}
	object.start = len(p.data) - r.Len()
	content, err := p.inflate(r, object.size)
	if err != nil {
		return nil, 0, err
	}
	p.at[at] = object
	if object.kind < gitOfsDelta {
		p.name(object, object.kind, content)
	}
	return object, len(p.data) - r.Len(), nil
}

func (p *gitPack) readBase(object *packed, r *bytes.Reader, at int) error {
	switch object.kind {
	case gitCommit, gitTree, gitBlob, gitTag:
	case gitRefDelta:
		if _, err := io.ReadFull(r, object.baseID[:]); err != nil {
			return packBroken("its pack ends early")
		}
	case gitOfsDelta:
		var back int64
		for i := 0; ; i++ {
			c, err := r.ReadByte()
			if err != nil || i > 6 {
				return packBroken("a delta's base cannot be read")
			}
			back = back<<7 | int64(c&0x7f)
			if c&0x80 == 0 {
				break
			}
			back++
		}
		if object.base = p.at[at-int(back)]; object.base == nil {
			return packBroken("a delta has no base")
		}
	default:
		return packBroken("it has an object of kind %d", object.kind)
	}
	return nil
}

// inflate reads exactly size bytes, which must be all there are. A bytes.Reader is not read beyond the end.
func (p *gitPack) inflate(r *bytes.Reader, size int64) ([]byte, error) {
	if err := p.spend(size); err != nil {
		return nil, err
	}
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, packBroken("an object cannot be read (%v)", err)
	}
	defer z.Close()
	// The size is only what the pack says: memory is taken as bytes come.
	var content bytes.Buffer
	if _, err := io.Copy(&content, io.LimitReader(z, size+1)); err != nil {
		return nil, packBroken("an object cannot be read (%v)", err)
	}
	if int64(content.Len()) != size {
		return nil, packBroken("an object has not the size that it says")
	}
	return content.Bytes(), nil
}

// spend takes the making of so many bytes from what may be done.
func (p *gitPack) spend(bytes int64) error {
	if err := p.err(); err != nil {
		return err
	}
	if bytes < 0 || bytes > p.limit {
		return refuse("", "this git bundle has an object that is larger than %s: use an archive of the files", size(p.limit))
	}
	const each = 64
	if p.work -= bytes + each; p.work < 0 {
		return refuse("", "this git bundle has too long a history: make it of a shallow clone, or use an archive of the files")
	}
	return nil
}

func (p *gitPack) name(object *packed, kind int, content []byte) {
	word := map[int]string{gitCommit: "commit", gitTree: "tree", gitBlob: "blob", gitTag: "tag"}[kind]
	h := sha1.New() //nolint:gosec // as above
	fmt.Fprintf(h, "%s %d\x00", word, len(content))
	h.Write(content)
	p.ids[objectID(h.Sum(nil))] = object
}

// resolve finds the names of deltas, for which they have to be applied.
func (p *gitPack) resolve(deltas []*packed) error {
	for range maxRounds {
		var left []*packed
		for _, d := range deltas {
			if d.kind == gitRefDelta && d.base == nil {
				d.base = p.ids[d.baseID]
			}
			kind, content, known, err := p.content(d)
			if err != nil {
				return err
			}
			if !known {
				left = append(left, d)
				continue
			}
			p.name(d, kind, content)
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) == len(deltas) {
			break
		}
		deltas = left
	}
	return packBroken("it has deltas without a base")
}

// object makes the content of an object by its name.
func (p *gitPack) object(id objectID) (int, []byte, error) {
	object, ok := p.ids[id]
	if !ok {
		return 0, nil, refuse("", "this git bundle lacks object %s: make it with git bundle create FILE HEAD of a clone that is not partial", id)
	}
	kind, content, _, err := p.content(object)
	return kind, content, err
}

// content applies all deltas from the whole object up. It is not known while one of the bases is not.
func (p *gitPack) content(object *packed) (kind int, content []byte, known bool, err error) {
	var chain []*packed
	at := object
	for p.cache[at] == nil && at.kind >= gitOfsDelta {
		if chain = append(chain, at); len(chain) > maxChain {
			return 0, nil, false, packBroken("it has more than %d deltas on each other", maxChain)
		}
		if at = at.base; at == nil {
			return 0, nil, false, nil
		}
	}
	if content = p.cache[at]; content == nil {
		if content, err = p.inflate(bytes.NewReader(p.data[at.start:]), at.size); err != nil {
			return 0, nil, false, err
		}
		p.keep(at, content)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		delta, err := p.inflate(bytes.NewReader(p.data[chain[i].start:]), chain[i].size)
		if err != nil {
			return 0, nil, false, err
		}
		if content, err = p.apply(content, delta); err != nil {
			return 0, nil, false, err
		}
		p.keep(chain[i], content)
	}
	for at.kind >= gitOfsDelta {
		at = at.base
	}
	return at.kind, content, true, nil
}

func (p *gitPack) keep(object *packed, content []byte) {
	if p.room -= int64(len(content)); p.room < 0 {
		for _, c := range p.cache {
			p.room += int64(len(c))
		}
		clear(p.cache)
	}
	if content == nil {
		content = []byte{}
	}
	p.cache[object] = content
}

// apply makes an object of its base and a delta.
func (p *gitPack) apply(base, delta []byte) ([]byte, error) {
	from, delta, ok := deltaSize(delta)
	to, delta, okTo := deltaSize(delta)
	if !ok || !okTo || from != int64(len(base)) {
		return nil, packBroken("a delta does not fit its base")
	}
	if err := p.spend(to); err != nil {
		return nil, err
	}
	var out []byte
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		var piece []byte
		switch {
		case op&0x80 != 0:
			piece, delta = deltaCopy(op, base, delta)
		case op != 0 && int(op) <= len(delta):
			piece, delta = delta[:op], delta[op:]
		}
		if len(piece) == 0 || int64(len(out)+len(piece)) > to {
			return nil, packBroken("a delta is broken")
		}
		out = append(out, piece...)
	}
	if int64(len(out)) != to {
		return nil, packBroken("a delta is broken")
	}
	return out, nil
}

func deltaSize(delta []byte) (int64, []byte, bool) {
	n, used := binary.Uvarint(delta)
	if used <= 0 || n > 1<<40 {
		return 0, nil, false
	}
	return int64(n), delta[used:], true
}

// deltaCopy is a piece of the base; nil if there is none such.
func deltaCopy(op byte, base, delta []byte) (piece, rest []byte) {
	var number [7]byte
	for i := range number {
		if op&(1<<i) == 0 {
			continue
		}
		if len(delta) == 0 {
			return nil, nil
		}
		number[i], delta = delta[0], delta[1:]
	}
	offset := int(binary.LittleEndian.Uint32(number[:4]))
	length := int(number[4]) | int(number[5])<<8 | int(number[6])<<16
	if length == 0 {
		length = 1 << 16
	}
	if offset > len(base) || length > len(base)-offset {
		return nil, nil
	}
	return base[offset : offset+length], delta
}
