package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"strings"
)

// A git bundle is a few lines that name commits, and a pack that holds them (gitformat-bundle, gitformat-pack).
const (
	bundleV2 = "# v2 git bundle\n"
	bundleV3 = "# v3 git bundle\n"
	// maxRefs bounds the lines before the pack.
	maxRefs = 10_000
)

// objectID is SHA-1, as git names objects.
type objectID [20]byte

func (id objectID) String() string { return hex.EncodeToString(id[:]) }

// bundle adds the files of HEAD's tree.
func (c *collection) bundle(ctx context.Context, r *bufio.Reader) error {
	head, err := readHead(r)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	repo, err := readPack(ctx, data, c.names.limits)
	if err != nil {
		return err
	}
	tree, err := repo.treeOf(head)
	if err != nil {
		return err
	}
	return c.gitTree(ctx, repo, tree, "")
}

// readHead reads the lines and finds the commit that HEAD names, or the only branch.
func readHead(r *bufio.Reader) (objectID, error) {
	first, err := line(r)
	if err != nil {
		return objectID{}, err
	}
	if first != bundleV2 && first != bundleV3 {
		return objectID{}, refuse("", "this git bundle has a version that is not known (%q): make it with git bundle create --version=2 FILE HEAD", strings.TrimSpace(first))
	}
	var head, branch objectID
	var branches int
	var found bool
	for range maxRefs {
		text, err := line(r)
		if err != nil {
			return objectID{}, err
		}
		if text == "\n" {
			return choose(found, head, branches, branch)
		}
		switch text[0] {
		case '@':
			if text != "@object-format=sha1\n" {
				return objectID{}, refuse("", "this git bundle needs %q, which is not known: use an archive of the files", strings.TrimSpace(text[1:]))
			}
			continue
		case '-':
			return objectID{}, refuse("", "this git bundle holds a part of the history only: make it with git bundle create FILE HEAD")
		}
		id, name, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
		sum, err := hex.DecodeString(id)
		if err != nil || len(sum) != len(objectID{}) {
			return objectID{}, refuse("", "this is no whole git bundle: %.80q is no line of it; make it again", text)
		}
		switch {
		case name == "HEAD":
			head, found = objectID(sum), true
		case strings.HasPrefix(name, "refs/heads/"):
			branch = objectID(sum)
			branches++
		}
	}
	return objectID{}, refuse("", "this git bundle has more than %d lines of references: make it with git bundle create FILE HEAD", maxRefs)
}

func choose(found bool, head objectID, branches int, branch objectID) (objectID, error) {
	if found {
		return head, nil
	}
	if branches == 1 {
		return branch, nil
	}
	return objectID{}, refuse("", "this git bundle has no HEAD: make it with git bundle create FILE HEAD")
}

func line(r *bufio.Reader) (string, error) {
	text, err := r.ReadSlice('\n')
	if err != nil {
		return "", refuse("", "this is no whole git bundle: %v in its first lines; make it again", err)
	}
	return string(text), nil
}

// treeOf follows tags to a commit, and that to its tree.
func (p *gitPack) treeOf(id objectID) (objectID, error) {
	const most = 8
	for range most {
		kind, data, err := p.object(id)
		if err != nil {
			return objectID{}, err
		}
		field := "object "
		switch kind {
		case gitTree:
			return id, nil
		case gitCommit:
			field = "tree "
		case gitTag:
		default:
			return objectID{}, refuse("", "HEAD of this git bundle is no commit: make it with git bundle create FILE HEAD")
		}
		first, _, _ := bytes.Cut(data, []byte("\n"))
		text, ok := strings.CutPrefix(string(first), field)
		sum, err := hex.DecodeString(text)
		if !ok || err != nil || len(sum) != len(id) {
			return objectID{}, refuse("", "this is no whole git bundle: object %s is broken; make it again", id)
		}
		id = objectID(sum)
	}
	return objectID{}, refuse("", "HEAD of this git bundle is a tag of a tag of more tags: make it with git bundle create FILE HEAD")
}

// gitTree adds a folder and what is below it.
func (c *collection) gitTree(ctx context.Context, repo *gitPack, id objectID, folder string) error {
	if strings.Count(folder, "/") > c.names.limits.Depth {
		return refuse(folder, "lies deeper than %d folders: move it up", c.names.limits.Depth-1)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	kind, data, err := repo.object(id)
	if err != nil {
		return err
	}
	for len(data) > 0 && kind == gitTree {
		head, rest, found := bytes.Cut(data, []byte{0})
		mode, name, _ := strings.Cut(string(head), " ")
		if !found || len(rest) < len(id) || name == "" || strings.Contains(name, "/") {
			break
		}
		data = rest[len(id):]
		if err := c.gitEntry(ctx, repo, mode, folder+name, objectID(rest[:len(id)])); err != nil {
			return err
		}
	}
	if len(data) > 0 || kind != gitTree {
		return refuse("", "this is no whole git bundle: folder %s is broken; make it again", id)
	}
	return nil
}

func (c *collection) gitEntry(ctx context.Context, repo *gitPack, mode, name string, id objectID) error {
	switch mode {
	case "40000", "040000":
		if leftOut(name) {
			return nil
		}
		// The folder itself counts, or many empty ones in each other would take for ever.
		if err := c.names.folder(name); err != nil {
			return err
		}
		return c.gitTree(ctx, repo, id, name+"/")
	case "120000":
		return c.refuse(name, linkRefused)
	case "160000":
		return c.refuse(name, "is a git submodule: put its files in its place")
	}
	kind, data, err := repo.object(id)
	if err != nil {
		return err
	}
	if kind != gitBlob {
		return refuse(name, "is broken in this git bundle: make it again")
	}
	return c.add(name, mode == "100755", int64(len(data)), bytes.NewReader(data))
}
