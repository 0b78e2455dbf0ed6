package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
)

const joinEnding = ".join"

func (r *Registry) joinDir() string { return filepath.Join(r.o.Dir, "pendingops", "join") }

// joinBlocks are the blocks of joins that are not complete.
func (r *Registry) joinBlocks() (map[string]*cb.Block, error) {
	if err := os.MkdirAll(r.joinDir(), 0o750); err != nil {
		return nil, fmt.Errorf("list join blocks: %w", err)
	}
	entries, err := os.ReadDir(r.joinDir())
	if err != nil {
		return nil, fmt.Errorf("list join blocks: %w", err)
	}
	out := map[string]*cb.Block{}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), joinEnding)
		if !ok {
			continue // half written when the orderer was killed
		}
		raw, err := os.ReadFile(filepath.Join(r.joinDir(), entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read join block of %s: %w", name, err)
		}
		if out[name], err = blocks.Parse(raw); err != nil {
			return nil, fmt.Errorf("read join block of %s: %w", name, err)
		}
	}
	return out, nil
}

// keepJoin writes a join block so that it is there whole or not at all.
func (r *Registry) keepJoin(name string, block *cb.Block) error {
	raw, err := proto.Marshal(block)
	if err != nil {
		return fmt.Errorf("keep join block: %w", err)
	}
	path := filepath.Join(r.joinDir(), name)
	file, err := os.Create(path + ".tmp")
	if err != nil {
		return fmt.Errorf("keep join block: %w", err)
	}
	_, err = file.Write(raw)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path+joinEnding)
	}
	if err != nil {
		return fmt.Errorf("keep join block: %w", err)
	}
	return nil
}

func (r *Registry) forgetJoin(name string) error {
	if err := os.Remove(filepath.Join(r.joinDir(), name+joinEnding)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget join block: %w", err)
	}
	return nil
}
