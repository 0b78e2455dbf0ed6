package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

var collectionName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$`)

// maxCollections bounds what one definition may hold.
const maxCollections = 256

// collectionFile is one entry of a collections file, as Fabric's own tools read it.
type collectionFile struct {
	Name              string `json:"name"`
	Policy            string `json:"policy"`
	RequiredPeerCount *int32 `json:"requiredPeerCount"`
	MaxPeerCount      *int32 `json:"maxPeerCount"`
	BlockToLive       uint64 `json:"blockToLive"`
	MemberOnlyRead    bool   `json:"memberOnlyRead"`
	MemberOnlyWrite   bool   `json:"memberOnlyWrite"`
	EndorsementPolicy *struct {
		SignaturePolicy     string `json:"signaturePolicy"`
		ChannelConfigPolicy string `json:"channelConfigPolicy"`
	} `json:"endorsementPolicy"`
}

// ParseCollections reads collections in the form of Fabric's collections files. Unknown fields are refused: one that is
// written wrong would open what it should close.
func ParseCollections(text string) ([]Collection, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	var files []collectionFile
	if err := decoder.Decode(&files); err != nil {
		return nil, fmt.Errorf("parse collections: %w", err)
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse collections: there is more after the list")
	}
	if len(files) == 0 || len(files) > maxCollections {
		return nil, fmt.Errorf("parse collections: there are %d, and 1 to %d are allowed", len(files), maxCollections)
	}
	seen := map[string]bool{}
	out := make([]Collection, 0, len(files))
	for i := range files {
		c, err := files[i].collection()
		if err != nil {
			return nil, fmt.Errorf("parse collections: entry %d: %w", i+1, err)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("parse collections: collection %q is there twice", c.Name)
		}
		seen[c.Name] = true
		out = append(out, c)
	}
	return out, nil
}

func (f *collectionFile) collection() (Collection, error) {
	c := Collection{
		Name: f.Name, Policy: f.Policy, BlockToLive: f.BlockToLive,
		MemberOnlyRead: f.MemberOnlyRead, MemberOnlyWrite: f.MemberOnlyWrite,
	}
	if !collectionName.MatchString(f.Name) {
		return c, fmt.Errorf("name %q must be letters, digits, '_' and '-', and must not start or end with '-'", f.Name)
	}
	if f.Policy == "" {
		return c, fmt.Errorf("collection %q has no policy: name the members, such as OR('BankAMSP.member')", f.Name)
	}
	if f.RequiredPeerCount != nil {
		c.RequiredPeers = *f.RequiredPeerCount
	}
	if f.MaxPeerCount != nil {
		c.MaxPeers = *f.MaxPeerCount
	}
	if c.RequiredPeers < 0 || c.MaxPeers < c.RequiredPeers {
		return c, fmt.Errorf("collection %q: maxPeerCount (%d) must be at least requiredPeerCount (%d), and that at least 0", f.Name, c.MaxPeers, c.RequiredPeers)
	}
	if e := f.EndorsementPolicy; e != nil {
		if (e.SignaturePolicy == "") == (e.ChannelConfigPolicy == "") {
			return c, fmt.Errorf("collection %q: endorsementPolicy needs either signaturePolicy or channelConfigPolicy", f.Name)
		}
		if c.EndorsementPolicy = e.SignaturePolicy; c.EndorsementPolicy == "" {
			c.EndorsementPolicy = channelPolicy(e.ChannelConfigPolicy)
		}
	}
	_, err := c.message()
	return c, err
}

// channelPolicy completes a path that is relative to the channel's application policies.
func channelPolicy(path string) string {
	if path[0] == '/' {
		return path
	}
	return "/Channel/Application/" + path
}

// CollectionsHash tells collections apart; empty where there are none.
func (d Definition) CollectionsHash() (string, error) {
	if d.CollectionsSum != "" || len(d.Collections) == 0 {
		return d.CollectionsSum, nil
	}
	m, err := d.message()
	if err != nil {
		return "", err
	}
	return hashCollections(m.Collections), nil
}

func hashCollections(p *pb.CollectionConfigPackage) string {
	if len(p.GetConfig()) == 0 {
		return ""
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		// What was unmarshalled marshals; the text keeps it from looking like none.
		return err.Error()
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
