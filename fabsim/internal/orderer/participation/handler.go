package participation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/registry"
)

const (
	// Base is the path that everything is below.
	Base = "/participation/v1/"

	channels = Base + "channels"
)

// Channels is what the API works on.
type Channels interface {
	Names() []string
	Info(name string) (registry.Info, error)
	Join(config *channel.Config, block *cb.Block) (registry.Info, error)
	Update(ctx context.Context, header *cb.ChannelHeader, update *cb.Envelope) (registry.Info, error)
	Remove(name string) error
	Block(name string, find func(*blocks.Ledger) (*cb.Block, error)) (*cb.Block, error)
}

// Handler serves the API.
type Handler struct {
	// Channels of the orderer.
	Channels Channels
	// MaxBody is the most bytes of a request.
	MaxBody int64
	// Disabled answers everything with SERVICE UNAVAILABLE.
	Disabled bool
}

type short struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

type list struct {
	System   *short  `json:"systemChannel"`
	Channels []short `json:"channels"`
}

type info struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Relation string `json:"consensusRelation"`
	Status   string `json:"status"`
	Height   uint64 `json:"height"`
}

func describe(i registry.Info) info {
	return info{Name: i.Name, URL: path.Join(channels, i.Name), Relation: i.Relation, Status: i.Status, Height: i.Height}
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.Disabled {
		fail(w, http.StatusServiceUnavailable, errors.New("channel participation API is disabled"))
		return
	}
	if r.URL.Path == Base && r.Method == http.MethodGet {
		http.Redirect(w, r, channels, http.StatusFound)
		return
	}
	if r.URL.Path == channels {
		h.all(w, r)
		return
	}
	words := strings.Split(strings.TrimPrefix(r.URL.Path, channels+"/"), "/")
	switch {
	case !strings.HasPrefix(r.URL.Path, channels+"/") || words[0] == "":
		http.NotFound(w, r)
	case len(words) == 1:
		h.one(w, r, words[0])
	case len(words) == 3 && words[1] == "blocks":
		h.block(w, r, words[0], words[2])
	default:
		http.NotFound(w, r)
	}
}

// all serves the collection.
func (h *Handler) all(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		if acceptable(w, r) {
			h.list(w)
		}
	case http.MethodPost:
		if formed(w, r) && acceptable(w, r) {
			h.join(w, r)
		}
	case http.MethodPut:
		if formed(w, r) && acceptable(w, r) {
			h.update(w, r)
		}
	default:
		notAllowed(w, fmt.Errorf("invalid request method: %s", r.Method), http.MethodGet, http.MethodPost, http.MethodPut)
	}
}

func (h *Handler) list(w http.ResponseWriter) {
	out := list{}
	for _, name := range h.Channels.Names() {
		out.Channels = append(out.Channels, short{Name: name, URL: path.Join(channels, name)})
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, out)
}

// one serves a channel.
func (h *Handler) one(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodDelete {
		notAllowed(w, fmt.Errorf("invalid request method: %s", r.Method), http.MethodGet, http.MethodDelete)
		return
	}
	if !acceptable(w, r) || !named(w, name) {
		return
	}
	if r.Method == http.MethodDelete {
		h.remove(w, name)
		return
	}
	found, err := h.Channels.Info(name)
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, describe(found))
}

func (h *Handler) remove(w http.ResponseWriter, name string) {
	err := h.Channels.Remove(name)
	status := http.StatusBadRequest
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, registry.ErrNotExist):
		status = http.StatusNotFound
	case errors.Is(err, registry.ErrRemoving):
		status = http.StatusConflict
	}
	fail(w, status, fmt.Errorf("cannot remove: %w", err))
}

// block serves a block of a channel.
func (h *Handler) block(w http.ResponseWriter, r *http.Request, name, which string) {
	if r.Method != http.MethodGet {
		notAllowed(w, fmt.Errorf("invalid request method: %s", r.Method), http.MethodGet)
		return
	}
	if !acceptable(w, r) || !named(w, name) {
		return
	}
	number, err := strconv.ParseUint(which, 10, 64)
	if err != nil && which != "oldest" && which != "newest" && which != "config" {
		fail(w, http.StatusBadRequest, fmt.Errorf("invalid block ID: '%s' not equal <newest|oldest|config|(number)>", which))
		return
	}
	block, err := h.Channels.Block(name, func(ledger *blocks.Ledger) (*cb.Block, error) {
		switch which {
		case "oldest":
			return ledger.Block(0)
		case "newest":
			return ledger.Last()
		case "config":
			return ledger.LastConfig()
		default:
			return ledger.Block(number)
		}
	})
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	raw, err := proto.Marshal(block)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(raw) //nolint:gosec // a block, said to be no text; the client may be gone
}

func named(w http.ResponseWriter, name string) bool {
	if err := channel.ValidID(name); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("invalid channel ID: %w", err))
		return false
	}
	return true
}

func formed(w http.ResponseWriter, r *http.Request) bool {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return true
	}
	fail(w, http.StatusBadRequest, fmt.Errorf("unsupported Content-Type: %s", r.Header.Values("Content-Type")))
	return false
}

func acceptable(w http.ResponseWriter, r *http.Request) bool {
	accept := r.Header.Get("Accept")
	for _, kind := range []string{"application/json", "application/*", "*/*"} {
		if accept == "" || strings.Contains(accept, kind) {
			return true
		}
	}
	fail(w, http.StatusNotAcceptable, errors.New("response Content-Type is application/json only"))
	return false
}

func notAllowed(w http.ResponseWriter, err error, methods ...string) {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	fail(w, http.StatusMethodNotAllowed, err)
}

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, content any) {
	raw, err := json.Marshal(content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n')) // the client went away
}
