package lifecycle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"
)

// A record is kept field by field, so that a transaction writes only what it
// changes, and which fields there are is kept beside them.

func metadataKey(kind, name string) string { return kind + "/metadata/" + name }

func fieldKey(kind, name, field string) string { return kind + "/fields/" + name + "/" + field }

// readMetadata tells what a record is; nil if there is none.
func readMetadata(ctx context.Context, kind, name string, from Readable) (*lb.StateMetadata, error) {
	raw, err := from.Get(ctx, metadataKey(kind, name))
	if err != nil {
		return nil, fmt.Errorf("could not query metadata for namespace %s/%s: %w", kind, name, err)
	}
	if raw == nil {
		return nil, nil //nolint:nilnil // a record that there is not is nothing wrong
	}
	metadata := &lb.StateMetadata{}
	if err := proto.Unmarshal(raw, metadata); err != nil {
		return nil, fmt.Errorf("could not unmarshal metadata for namespace %s/%s: %w", kind, name, err)
	}
	return metadata, nil
}

func readField(ctx context.Context, kind, name, field string, from Readable) (*lb.StateData, error) {
	key := fieldKey(kind, name, field)
	raw, err := from.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("could not get state for key %s: %w", key, err)
	}
	data := &lb.StateData{}
	if err := proto.Unmarshal(raw, data); err != nil {
		return nil, fmt.Errorf("could not unmarshal state for key %s: %w", key, err)
	}
	return data, nil
}

func readFields(ctx context.Context, kind, name string, fields []field, from Readable) error {
	for _, f := range fields {
		data, err := readField(ctx, kind, name, f.name, from)
		if err != nil {
			return err
		}
		if err := f.read(data); err != nil {
			return err
		}
	}
	return nil
}

// Sequence is the committed sequence of a contract; 0 if there is none.
func Sequence(ctx context.Context, name string, from Readable) (int64, error) {
	data, err := readField(ctx, namespaces, name, "Sequence", from)
	if err != nil {
		return 0, err
	}
	return data.GetInt64(), nil
}

// writeRecord writes those fields that differ from what there is.
func writeRecord(ctx context.Context, kind, name, datatype string, fields []field, to Writable) error {
	metadata, err := readMetadata(ctx, kind, name, to)
	if err != nil {
		return fmt.Errorf("could not deserialize metadata for namespace %s/%s: %w", kind, name, err)
	}
	if metadata == nil {
		metadata = &lb.StateMetadata{}
	}
	before := map[string][]byte{}
	for _, known := range metadata.GetFields() {
		key := fieldKey(kind, name, known)
		if before[key], err = to.Get(ctx, key); err != nil {
			return fmt.Errorf("could not get value for key %s: %w", key, err)
		}
	}
	var names []string
	for _, f := range fields {
		key := fieldKey(kind, name, f.name)
		names = append(names, f.name)
		raw, err := proto.Marshal(f.data)
		if err != nil {
			return fmt.Errorf("could not marshal value for key %s: %w", key, err)
		}
		if old, ok := before[key]; !ok || !bytes.Equal(old, raw) {
			if err := to.Put(ctx, key, raw); err != nil {
				return fmt.Errorf("could not write key into state: %w", err)
			}
		}
	}
	if metadata.GetDatatype() == datatype && slices.Equal(metadata.GetFields(), names) {
		return nil
	}
	raw, err := proto.Marshal(&lb.StateMetadata{Datatype: datatype, Fields: names})
	if err != nil {
		return fmt.Errorf("could not marshal metadata for namespace %s/%s: %w", kind, name, err)
	}
	if err := to.Put(ctx, metadataKey(kind, name), raw); err != nil {
		return fmt.Errorf("could not store metadata for namespace %s/%s: %w", kind, name, err)
	}
	return nil
}

// matches tells which fields of a record that only hashes are known of are not
// the given ones; its datatype stands for all of them.
func matches(ctx context.Context, kind, name, datatype string, fields []field, in Opaque) (bool, []string, error) {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	hashes := map[string][]byte{}
	keys := []string{metadataKey(kind, name)}
	for _, f := range fields {
		keys = append(keys, fieldKey(kind, name, f.name))
	}
	for _, key := range keys {
		hash, err := in.GetHash(ctx, key)
		if err != nil {
			return false, nil, fmt.Errorf("could not get value for key %s: %w", key, err)
		}
		hashes[key] = hash
	}
	raw, err := proto.Marshal(&lb.StateMetadata{Datatype: datatype, Fields: names})
	if err != nil {
		return false, nil, fmt.Errorf("could not marshal metadata for namespace %s/%s: %w", kind, name, err)
	}
	if !hashed(raw, hashes[keys[0]]) {
		return false, []string{datatype}, nil
	}
	var different []string
	for i, f := range fields {
		raw, err := proto.Marshal(f.data)
		if err != nil {
			return false, nil, fmt.Errorf("could not marshal value for key %s: %w", keys[i+1], err)
		}
		if !hashed(raw, hashes[keys[i+1]]) {
			different = append(different, f.name)
		}
	}
	return len(different) == 0, different, nil
}

func hashed(raw, hash []byte) bool {
	sum := sha256.Sum256(raw)
	return bytes.Equal(sum[:], hash)
}

// Defined finds the committed definition of a contract; nil if there is none.
// The namespace of lifecycles counts as a contract.
func Defined(ctx context.Context, name string, from Readable) (*Definition, error) {
	if name == Namespace {
		return newDefinition(), nil
	}
	metadata, err := readMetadata(ctx, namespaces, name, from)
	if err != nil {
		return nil, fmt.Errorf("could not deserialize metadata for chaincode %s: %w", name, err)
	}
	if metadata == nil {
		return nil, nil //nolint:nilnil // a contract that there is not is nothing wrong
	}
	if metadata.GetDatatype() != typeDefinition {
		return nil, fmt.Errorf("not a chaincode type: %s", metadata.GetDatatype())
	}
	return readDefinition(ctx, name, from)
}

func readDefinition(ctx context.Context, name string, from Readable) (*Definition, error) {
	d := newDefinition()
	fields, err := d.all()
	if err != nil {
		return nil, err
	}
	if err := readFields(ctx, namespaces, name, fields, from); err != nil {
		return nil, fmt.Errorf("could not deserialize chaincode definition for chaincode %s: %w", name, err)
	}
	return d, nil
}

// Approved tells whether an organisation has approved a definition.
func Approved(ctx context.Context, name string, d *Definition, in Opaque) (bool, error) {
	ok, _, err := approved(ctx, name, d, in)
	return ok, err
}

func approved(ctx context.Context, name string, d *Definition, in Opaque) (bool, []string, error) {
	fields, err := d.parameters()
	if err != nil {
		return false, nil, err
	}
	ok, different, err := matches(ctx, namespaces, privateName(name, d.Sequence), typeParameters, fields, in)
	if err != nil {
		return false, nil, fmt.Errorf("serialization check failed for key %s: %w", privateName(name, d.Sequence), err)
	}
	return ok, different, nil
}

func privateName(name string, sequence int64) string { return fmt.Sprintf("%s#%d", name, sequence) }

// PackageOf tells which of some packages an organisation chose for a
// definition, by hashes alone; empty if none of them.
func PackageOf(ctx context.Context, name string, sequence int64, packages []string, in Opaque) (string, error) {
	in = readOnce{in, map[string][]byte{}}
	for _, id := range packages {
		ok, _, err := matches(ctx, sources, privateName(name, sequence), typePackage, []field{textField("PackageID", &id)}, in)
		if err != nil {
			return "", err
		}
		if ok {
			return id, nil
		}
	}
	return "", nil
}

// readOnce keeps what it has read: every package is compared with the same records.
type readOnce struct {
	from Opaque
	seen map[string][]byte
}

// MSPID is the organisation's.
func (r readOnce) MSPID() string { return r.from.MSPID() }

// GetHash reads the hash of a value.
func (r readOnce) GetHash(ctx context.Context, key string) ([]byte, error) {
	if hash, ok := r.seen[key]; ok {
		return hash, nil
	}
	hash, err := r.from.GetHash(ctx, key)
	if err == nil {
		r.seen[key] = hash
	}
	return hash, err
}
