package lifecycle

import (
	"bytes"
	"context"
	"fmt"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"
)

// Namespace of the state of lifecycles.
const Namespace = "_lifecycle"

// Kinds of records, and where they are.
const (
	namespaces = "namespaces"
	sources    = "chaincode-sources"

	typeDefinition = "ChaincodeDefinition"
	typeParameters = "ChaincodeParameters"
	typePackage    = "ChaincodeLocalPackage"
)

// Definition is a contract as a channel has agreed on it, or is to.
type Definition struct {
	Sequence    int64
	Endorsement *lb.ChaincodeEndorsementInfo
	Validation  *lb.ChaincodeValidationInfo
	Collections *pb.CollectionConfigPackage
}

func newDefinition() *Definition {
	return &Definition{
		Endorsement: &lb.ChaincodeEndorsementInfo{}, Validation: &lb.ChaincodeValidationInfo{}, Collections: &pb.CollectionConfigPackage{},
	}
}

// field is one value of a record, by its name in the state.
type field struct {
	name string
	data *lb.StateData
	read func(*lb.StateData) error
}

func numberField(name string, at *int64) field {
	return field{
		name: name, data: &lb.StateData{Type: &lb.StateData_Int64{Int64: *at}},
		read: func(d *lb.StateData) error {
			if d.GetType() == nil {
				return nil
			}
			if _, ok := d.GetType().(*lb.StateData_Int64); !ok {
				return fmt.Errorf("expected %s to encode a value of type Int64, but was %T", name, d.GetType())
			}
			*at = d.GetInt64()
			return nil
		},
	}
}

func textField(name string, at *string) field {
	return field{
		name: name, data: &lb.StateData{Type: &lb.StateData_String_{String_: *at}},
		read: func(d *lb.StateData) error { *at = d.GetString_(); return nil },
	}
}

// messageField has a message as bytes; one that is nil has none.
func messageField(name string, at proto.Message) (field, error) {
	var raw []byte
	if at.ProtoReflect().IsValid() {
		var err error
		if raw, err = proto.Marshal(at); err != nil {
			return field{}, fmt.Errorf("could not marshal field %s: %w", name, err)
		}
	}
	return field{
		name: name, data: &lb.StateData{Type: &lb.StateData_Bytes{Bytes: raw}},
		read: func(d *lb.StateData) error {
			if err := proto.Unmarshal(d.GetBytes(), at); err != nil {
				return fmt.Errorf("could not unmarshal %s: %w", name, err)
			}
			return nil
		},
	}, nil
}

// parameters are the fields that organisations approve.
func (d *Definition) parameters() ([]field, error) {
	var out []field
	for _, one := range []struct {
		name string
		at   proto.Message
	}{{"EndorsementInfo", d.Endorsement}, {"ValidationInfo", d.Validation}, {"Collections", d.Collections}} {
		f, err := messageField(one.name, one.at)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// all are the fields of a definition that was committed.
func (d *Definition) all() ([]field, error) {
	rest, err := d.parameters()
	return append([]field{numberField("Sequence", &d.Sequence)}, rest...), err
}

// differs tells in Fabric's words how the parameters of two definitions
// differ.
func (d *Definition) differs(other *Definition) error {
	e, o, v, w := d.Endorsement, other.Endorsement, d.Validation, other.Validation
	switch {
	case e.GetVersion() != o.GetVersion():
		return fmt.Errorf("expected Version '%s' does not match passed Version '%s'", e.GetVersion(), o.GetVersion())
	case e.GetEndorsementPlugin() != o.GetEndorsementPlugin():
		return fmt.Errorf("expected EndorsementPlugin '%s' does not match passed EndorsementPlugin '%s'", e.GetEndorsementPlugin(), o.GetEndorsementPlugin())
	case e.GetInitRequired() != o.GetInitRequired():
		return fmt.Errorf("expected InitRequired '%t' does not match passed InitRequired '%t'", e.GetInitRequired(), o.GetInitRequired())
	case v.GetValidationPlugin() != w.GetValidationPlugin():
		return fmt.Errorf("expected ValidationPlugin '%s' does not match passed ValidationPlugin '%s'", v.GetValidationPlugin(), w.GetValidationPlugin())
	case !bytes.Equal(v.GetValidationParameter(), w.GetValidationParameter()):
		return fmt.Errorf("expected ValidationParameter '%x' does not match passed ValidationParameter '%x'", v.GetValidationParameter(), w.GetValidationParameter())
	case !proto.Equal(d.Collections, other.Collections):
		return fmt.Errorf("Collections do not match")
	}
	return nil
}

func (d *Definition) same(other *Definition) bool { return d.differs(other) == nil }

// Readable is where records are read from.
type Readable interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// Writable is where they are written.
type Writable interface {
	Readable

	Put(ctx context.Context, key string, value []byte) error
}

// Opaque is what can be told of an organisation's private records.
type Opaque interface {
	MSPID() string
	GetHash(ctx context.Context, key string) ([]byte, error)
}
