package modproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// goRequest is a parsed path of the GOPROXY protocol.
type goRequest struct {
	escaped string // the path as it stands in an address
	module  string
	// what is "list", "latest", "info", "mod" or "zip".
	what    string
	version string
}

// parseGo reads <module>/@latest, <module>/@v/list and <module>/@v/<version>.<info|mod|zip>.
func parseGo(p string) (goRequest, error) {
	bad := fmt.Errorf("%w: %q is no path of the GOPROXY protocol", errNotFound, p)
	escaped, rest, ok := strings.Cut(p, "/@")
	if !ok {
		return goRequest{}, bad
	}
	mod, err := module.UnescapePath(escaped)
	if err != nil {
		return goRequest{}, fmt.Errorf("%w: %w", errNotFound, err)
	}
	out := goRequest{escaped: p, module: mod}
	switch rest {
	case "latest":
		out.what = "latest"
		return out, nil
	case "v/list":
		out.what = "list"
		return out, nil
	}
	file, ok := strings.CutPrefix(rest, "v/")
	ext := path.Ext(file)
	if !ok || (ext != ".info" && ext != ".mod" && ext != ".zip") {
		return goRequest{}, bad
	}
	version, err := module.UnescapeVersion(strings.TrimSuffix(file, ext))
	if err != nil {
		return goRequest{}, fmt.Errorf("%w: %w", errNotFound, err)
	}
	out.what, out.version = ext[1:], version
	return out, nil
}

// mutable says whether the answer can change: lists do, and so do names that stand
// for a version ("master"); a version itself does not.
func (g goRequest) mutable() bool {
	return g.version == "" || module.CanonicalVersion(g.version) != g.version || !semver.IsValid(g.version)
}

func (g goRequest) contentType() string {
	switch g.what {
	case "zip":
		return "application/zip"
	case "info", "latest":
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

func (p *Proxy) serveGo(w http.ResponseWriter, r *http.Request, ups *Upstreams, escaped string) error {
	rawPath, err := url.PathUnescape(escaped)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotFound, err)
	}
	if db, ok := strings.CutPrefix(rawPath, "sumdb/"); ok {
		return p.serveSumDB(w, r, ups, db)
	}
	req, err := parseGo(rawPath)
	if err != nil {
		return err
	}
	f, err := p.get(r.Context(), object{
		key: "go/" + rawPath, mutable: req.mutable(),
		fetch: func(ctx context.Context, w io.Writer) error { return p.fetchGo(ctx, ups, req, w) },
	})
	if err != nil {
		return err
	}
	defer f.Close()
	serveFile(w, r, f, req.contentType(), req.mutable())
	return nil
}

func serveFile(w http.ResponseWriter, r *http.Request, f *os.File, contentType string, mutable bool) {
	w.Header().Set("Content-Type", contentType)
	if mutable {
		w.Header().Set("Cache-Control", "no-cache")
	} else {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}

// source is one entry of GOPROXY.
type source struct {
	name     string // address, "direct" or "off"
	afterAny bool   // try the next one after any error
}

func parseGoProxy(list string) []source {
	var out []source
	for list != "" {
		i := strings.IndexAny(list, ",|")
		name, sep := list, byte(',')
		if i >= 0 {
			name, sep, list = list[:i], list[i], list[i+1:]
		} else {
			list = ""
		}
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, source{name, sep == '|'})
		}
	}
	return out
}

// fetchGo asks the machine's proxies in turn, as its go command would.
func (p *Proxy) fetchGo(ctx context.Context, ups *Upstreams, req goRequest, w io.Writer) error {
	list := parseGoProxy(ups.GoProxy)
	if module.MatchPrefixPatterns(ups.NoProxy, req.module) {
		list = []source{{name: "direct"}}
	}
	if len(list) == 0 {
		return errors.New("this machine has no settings for Go modules: install go, or set GOPROXY")
	}
	return tryEach(list, w, func(name string, w io.Writer) error {
		if name == "direct" {
			return p.direct(ctx, req, w)
		}
		return p.fromProxy(ctx, ups, name, req.escaped, w)
	})
}

// tryEach follows the rules of GOPROXY lists. Nothing must have been written by a source that fails.
func tryEach(list []source, w io.Writer, try func(name string, w io.Writer) error) error {
	var last error
	for _, s := range list {
		if s.name == "off" {
			return errors.Join(errors.New("GOPROXY forbids to look further (off)"), last)
		}
		counted := &countingWriter{w: w}
		err := try(s.name, counted)
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, errNotFound) {
			last = err
		}
		if counted.n > 0 || !errors.Is(err, errNotFound) && !s.afterAny {
			return err
		}
	}
	return last
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// fromProxy fetches from an address, which may be a folder.
func (p *Proxy) fromProxy(ctx context.Context, ups *Upstreams, base, path string, w io.Writer) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme == "" {
		return errors.New("read GOPROXY: an entry is no address")
	}
	if u.Scheme == "file" {
		return fromFolder(u.Path, path, w)
	}
	return p.fetch(ctx, request{url: strings.TrimSuffix(base, "/") + "/" + (&url.URL{Path: path}).EscapedPath(), auth: ups.netrcAuth}, w)
}

func fromFolder(dir, name string, w io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the GOPROXY folder: %w", err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", errNotFound, name)
	}
	if err != nil {
		return fmt.Errorf("read the GOPROXY folder: %w", err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// serveSumDB passes the checksum database on: clients check its signatures themselves.
func (p *Proxy) serveSumDB(w http.ResponseWriter, r *http.Request, ups *Upstreams, rest string) error {
	name, what, ok := strings.Cut(rest, "/")
	sumdb := parseSumDB(ups.SumDB)
	if !ok || sumdb.name == "" || name != sumdb.name || path.Clean("/"+what) != "/"+what {
		return fmt.Errorf("%w: this machine does not use the checksum database %q", errNotFound, name)
	}
	if what == "supported" {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	mutable := what == "latest"
	f, err := p.get(r.Context(), object{
		key: "sumdb/" + rest, mutable: mutable,
		fetch: func(ctx context.Context, w io.Writer) error { return p.fetchSumDB(ctx, ups, sumdb, what, w) },
	})
	if err != nil {
		return err
	}
	defer f.Close()
	contentType := "text/plain; charset=utf-8"
	if strings.HasPrefix(what, "tile/") {
		contentType = "application/octet-stream"
	}
	serveFile(w, r, f, contentType, mutable)
	return nil
}

// sumDB is a parsed GOSUMDB.
type sumDB struct{ name, url string }

// parseSumDB reads "name", "name+id+key" or either with an address behind it.
func parseSumDB(s string) sumDB {
	fields := strings.Fields(s)
	if len(fields) == 0 || fields[0] == "off" {
		return sumDB{}
	}
	name, _, _ := strings.Cut(fields[0], "+")
	out := sumDB{name: name, url: "https://" + name}
	if len(fields) > 1 {
		out.url = fields[1]
	}
	return out
}

// fetchSumDB asks the machine's proxies for the database, and then the database itself
// unless GOPROXY says off.
func (p *Proxy) fetchSumDB(ctx context.Context, ups *Upstreams, db sumDB, what string, w io.Writer) error {
	list := parseGoProxy(ups.GoProxy)
	for i := range list {
		list[i].afterAny = true
	}
	return tryEach(append(list, source{name: "direct"}), w, func(name string, w io.Writer) error {
		if name != "direct" {
			return p.fromProxy(ctx, ups, name, "sumdb/"+db.name+"/"+what, w)
		}
		return p.fetch(ctx, request{url: strings.TrimSuffix(db.url, "/") + "/" + what, auth: ups.netrcAuth}, w)
	})
}
