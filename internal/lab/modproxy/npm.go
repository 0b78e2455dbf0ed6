package modproxy

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // old npm packages have no other checksum
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const (
	// abbreviated is what npm asks for when it installs: a tenth of the full document.
	abbreviated = "application/vnd.npm.install-v1+json"
	fullJSON    = "application/json"
	// maxPackument bounds a package document, which is read into memory.
	maxPackument = 64 << 20
)

// packageName is what a registry accepts, old names with capitals included.
var packageName = regexp.MustCompile(`^(@[A-Za-z0-9~._-]+/)?[A-Za-z0-9~._-]+$`)

// packument is a package document; what the proxy does not touch stays as it came.
type packument struct {
	all      map[string]json.RawMessage
	versions map[string]map[string]json.RawMessage
	tags     map[string]string
}

// dist is where a version's archive is and what it must be.
type dist struct {
	Tarball   string `json:"tarball"`
	Integrity string `json:"integrity"`
	Shasum    string `json:"shasum"`
}

// npmRequest is a parsed path below NpmPath: a document, one version of it, or an archive.
type npmRequest struct {
	name, version, file string
}

// parseNpm reads name, name/version and name/-/file.tgz; the slash of a scope may be escaped.
func parseNpm(escaped string) (npmRequest, error) {
	bad := fmt.Errorf("%w: %q is no path of a package, and the proxy has nothing else", errNotFound, escaped)
	p, err := url.PathUnescape(escaped)
	if err != nil {
		return npmRequest{}, bad
	}
	parts := strings.Split(p, "/")
	out := npmRequest{name: parts[0]}
	rest := parts[1:]
	if strings.HasPrefix(p, "@") && len(rest) > 0 {
		out.name, rest = parts[0]+"/"+parts[1], rest[1:]
	}
	switch {
	case len(rest) == 1 && rest[0] != "":
		out.version = rest[0]
	case len(rest) == 2 && rest[0] == "-" && strings.HasSuffix(rest[1], ".tgz"):
		out.file = rest[1]
	case len(rest) > 0:
		return npmRequest{}, bad
	}
	base := path.Base(out.name)
	if !packageName.MatchString(out.name) || strings.HasPrefix(base, ".") || base == "-" {
		return npmRequest{}, bad
	}
	return out, nil
}

func (p *Proxy) serveNpm(w http.ResponseWriter, r *http.Request, ups *Upstreams, escaped string) error {
	req, err := parseNpm(escaped)
	if err != nil {
		return err
	}
	if ups.Npm.registry(req.name) == "" {
		return errors.New("this machine has no npm registry: install npm, or set registry in ~/.npmrc")
	}
	if req.file != "" {
		return p.serveTarball(w, r, ups, req)
	}
	accept := fullJSON
	if req.version == "" && strings.Contains(r.Header.Get("Accept"), abbreviated) {
		accept = abbreviated
	}
	doc, err := p.packument(r.Context(), ups, req.name, accept)
	if err != nil {
		return err
	}
	if err := doc.rewrite("http://" + r.Host + NpmPath + "/" + req.name + "/-/"); err != nil {
		return err
	}
	var out any = doc.all
	if req.version != "" {
		v, ok := doc.version(req.version)
		if !ok {
			return fmt.Errorf("%w: %s has no version %q", errNotFound, req.name, req.version)
		}
		out = v
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("write package %q: %w", req.name, err)
	}
	w.Header().Set("Content-Type", accept)
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return nil
	}
	_, _ = w.Write(body) // the client went away: nobody to tell
	return nil
}

// packument gets a document from the cache or upstream.
func (p *Proxy) packument(ctx context.Context, ups *Upstreams, name, accept string) (*packument, error) {
	f, err := p.get(ctx, object{
		key: "npm/" + accept + "/" + name, mutable: true,
		fetch: func(ctx context.Context, w io.Writer) error {
			at := strings.TrimSuffix(ups.Npm.registry(name), "/") + "/" + strings.Replace(name, "/", "%2f", 1)
			var body bytes.Buffer
			if err := p.fetch(ctx, request{url: at, accept: accept, auth: ups.Npm.authorize}, &limitedWriter{w: &body, left: maxPackument}); err != nil {
				return err
			}
			// A broken document must not displace a good one.
			if _, err := readPackument(body.Bytes()); err != nil {
				return fmt.Errorf("package %q from upstream: %w", name, err)
			}
			_, err := w.Write(body.Bytes())
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPackument))
	if err != nil {
		return nil, fmt.Errorf("read package %q from the cache: %w", name, err)
	}
	return readPackument(data)
}

func readPackument(data []byte) (*packument, error) {
	out := &packument{}
	if err := json.Unmarshal(data, &out.all); err != nil {
		return nil, fmt.Errorf("read package document: %w", err)
	}
	if out.all == nil {
		return nil, errors.New("read package document: it is empty")
	}
	if raw, ok := out.all["versions"]; ok {
		if err := json.Unmarshal(raw, &out.versions); err != nil {
			return nil, fmt.Errorf("read versions of a package: %w", err)
		}
	}
	if raw, ok := out.all["dist-tags"]; ok {
		if err := json.Unmarshal(raw, &out.tags); err != nil {
			return nil, fmt.Errorf("read tags of a package: %w", err)
		}
	}
	return out, nil
}

// rewrite points every archive at base, and so at the proxy.
func (p *packument) rewrite(base string) error {
	for _, v := range p.versions {
		var d map[string]json.RawMessage
		if raw, ok := v["dist"]; !ok || json.Unmarshal(raw, &d) != nil {
			continue
		}
		var at string
		if json.Unmarshal(d["tarball"], &at) != nil {
			continue
		}
		var err error
		if d["tarball"], err = json.Marshal(base + tarballName(at)); err != nil {
			return err
		}
		if v["dist"], err = json.Marshal(d); err != nil {
			return err
		}
	}
	if p.versions == nil {
		return nil
	}
	raw, err := json.Marshal(p.versions)
	if err != nil {
		return fmt.Errorf("write versions of a package: %w", err)
	}
	p.all["versions"] = raw
	return nil
}

// version finds a version by number or tag.
func (p *packument) version(v string) (map[string]json.RawMessage, bool) {
	if out, ok := p.versions[v]; ok {
		return out, true
	}
	out, ok := p.versions[p.tags[v]]
	return out, ok
}

// tarballName is the last part of an archive's address.
func tarballName(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}

// archive finds the version that has the named archive.
func (p *packument) archive(file string) (dist, bool) {
	for _, v := range p.versions {
		var d dist
		if json.Unmarshal(v["dist"], &d) == nil && tarballName(d.Tarball) == file {
			return d, true
		}
	}
	return dist{}, false
}

func (p *Proxy) serveTarball(w http.ResponseWriter, r *http.Request, ups *Upstreams, req npmRequest) error {
	f, err := p.get(r.Context(), object{
		key: "npm/tarball/" + req.name + "/" + req.file,
		fetch: func(ctx context.Context, w io.Writer) error {
			doc, err := p.packument(ctx, ups, req.name, abbreviated)
			if err != nil {
				return err
			}
			d, ok := doc.archive(req.file)
			if !ok {
				return fmt.Errorf("%w: %s has no archive %q", errNotFound, req.name, req.file)
			}
			return p.fetchTarball(ctx, ups, d, w)
		},
	})
	if err != nil {
		return err
	}
	defer f.Close()
	serveFile(w, r, f, "application/octet-stream", false)
	return nil
}

// fetchTarball checks what it got, since it is kept for good.
func (p *Proxy) fetchTarball(ctx context.Context, ups *Upstreams, d dist, w io.Writer) error {
	h, want, err := d.checksum()
	if err != nil {
		return err
	}
	if err := p.fetch(ctx, request{url: d.Tarball, auth: ups.Npm.authorize}, io.MultiWriter(w, h)); err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return errors.New("the archive from upstream does not have the checksum that its package document says")
	}
	return nil
}

// checksum takes the strongest one the document has.
func (d dist) checksum() (hash.Hash, []byte, error) {
	for _, field := range strings.Fields(d.Integrity) {
		sum, ok := strings.CutPrefix(field, "sha512-")
		if !ok {
			continue
		}
		sum, _, _ = strings.Cut(sum, "?")
		want, err := base64.StdEncoding.DecodeString(sum)
		if err != nil {
			return nil, nil, fmt.Errorf("read the checksum of an archive: %w", err)
		}
		return sha512.New(), want, nil
	}
	want, err := hex.DecodeString(d.Shasum)
	if err != nil || len(want) != sha1.Size {
		return nil, nil, errors.New("the package document has no usable checksum (sha512 or sha1) for the archive")
	}
	return sha1.New(), want, nil //nolint:gosec // see the import
}
