package participation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/participation"
	"heddle.dev/heddle/fabsim/internal/orderer/registry"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// fake is an orderer of which tests say what it answers.
type fake struct {
	names []string
	err   error
}

func (f *fake) Names() []string { return f.names }

func (f *fake) Info(name string) (registry.Info, error) {
	return registry.Info{Name: name, Relation: registry.RelationConsenter, Status: registry.StatusActive, Height: 7}, f.err
}

func (f *fake) Join(config *channel.Config, _ *cb.Block) (registry.Info, error) {
	return registry.Info{Name: config.ID(), Relation: registry.RelationFollower, Status: registry.StatusOnboarding}, f.err
}

func (f *fake) Update(_ context.Context, header *cb.ChannelHeader, _ *cb.Envelope) (registry.Info, error) {
	return registry.Info{Name: header.GetChannelId()}, f.err
}

func (f *fake) Remove(string) error { return f.err }

func (f *fake) Block(string, func(*blocks.Ledger) (*cb.Block, error)) (*cb.Block, error) {
	return &cb.Block{Header: &cb.BlockHeader{Number: 3}}, f.err
}

type upload struct {
	part    string
	content []byte
	extra   bool
}

func (u upload) request(t *testing.T, method string) *http.Request {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile(u.part, "file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(u.content); err != nil {
		t.Fatal(err)
	}
	if u.extra {
		if err := form.WriteField("more", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/participation/v1/channels", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

func genesis(tb testing.TB, change func(*cb.ConfigGroup)) *cb.Block {
	tb.Helper()
	org := simtest.NewOrg(tb, "ord")
	return simtest.Channel{ID: "trade", Orderers: org, Endpoints: []string{"127.0.0.1:1"}, Change: change}.Genesis(tb)
}

func get(method, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, path, http.NoBody)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestHandler(t *testing.T) {
	const all, one = "/participation/v1/channels", "/participation/v1/channels/trade"
	join := func(content []byte) *http.Request {
		return upload{part: "config-block", content: content}.request(t, http.MethodPost)
	}
	good := simtest.Marshal(t, genesis(t, nil))
	headless, _ := proto.Clone(genesis(t, nil)).(*cb.Block)
	headless.Header.DataHash = []byte("wrong")
	bare, _ := proto.Clone(genesis(t, nil)).(*cb.Block)
	bare.Metadata = nil
	system := genesis(t, func(g *cb.ConfigGroup) { g.Groups["Consortiums"] = &cb.ConfigGroup{} })
	ordering := genesis(t, func(g *cb.ConfigGroup) { delete(g.Groups, "Application") })
	tests := map[string]struct {
		request *http.Request
		err     error
		want    int
		body    string
	}{
		"list":                      {get("GET", all), nil, 200, `{"systemChannel":null,"channels":[{"name":"trade","url":"/participation/v1/channels/trade"}]}`},
		"one":                       {get("GET", one), nil, 200, `{"name":"trade","url":"/participation/v1/channels/trade","consensusRelation":"consenter","status":"active","height":7}`},
		"one that is not there":     {get("GET", one), registry.ErrNotExist, 404, `{"error":"channel does not exist"}`},
		"one with a bad name":       {get("GET", all+"/Trade"), nil, 400, `{"error":"invalid channel ID`},
		"in another language":       {get("GET", one, "Accept", "text/html"), nil, 406, `{"error":"response Content-Type is application/json only"}`},
		"in any language":           {get("GET", one, "Accept", "text/html, */*"), nil, 200, `{"name":"trade"`},
		"another method on all":     {get("PATCH", all), nil, 405, `{"error":"invalid request method: PATCH"}`},
		"another method on one":     {get("POST", one), nil, 405, `{"error":"invalid request method: POST"}`},
		"another path":              {get("GET", all+"/trade/more"), nil, 404, "404 page not found"},
		"the base":                  {get("GET", "/participation/v1/"), nil, 302, ""},
		"remove":                    {get("DELETE", one), nil, 204, ""},
		"remove none":               {get("DELETE", one), registry.ErrNotExist, 404, `{"error":"cannot remove: channel does not exist"}`},
		"remove twice":              {get("DELETE", one), registry.ErrRemoving, 409, `{"error":"cannot remove: channel pending removal"}`},
		"remove, broken":            {get("DELETE", one), errors.New("disk"), 400, `{"error":"cannot remove: disk"}`},
		"a block":                   {get("GET", one+"/blocks/newest"), nil, 200, ""},
		"a block of a strange name": {get("GET", one+"/blocks/first"), nil, 400, `{"error":"invalid block ID`},
		"a block that is not there": {get("GET", one+"/blocks/9"), registry.ErrFollower, 404, `{"error":"channel is not ready, he is a follower"}`},
		"join":                      {join(good), nil, 201, `{"name":"trade","url":"/participation/v1/channels/trade","consensusRelation":"follower","status":"onboarding","height":0}`},
		"join twice":                {join(good), registry.ErrExists, 405, `{"error":"cannot join: channel already exists"}`},
		"join while it goes":        {join(good), registry.ErrRemoving, 409, `{"error":"cannot join: channel pending removal"}`},
		"join what could not go":    {join(good), registry.ErrRemoval, 500, `{"error":"cannot join: channel removal failure"}`},
		"join, refused":             {join(good), errors.New("no"), 400, `{"error":"cannot join: no"}`},
		"join by garbage":           {join([]byte("garbage")), nil, 400, `{"error":"cannot unmarshal file part config-block into a block`},
		"join by another block":     {join(simtest.Marshal(t, &cb.Block{Data: &cb.BlockData{Data: [][]byte{{1}}}})), nil, 400, `{"error":"invalid join block: block is not a config block"}`},
		"join by a wrong hash":      {join(simtest.Marshal(t, headless)), nil, 400, `{"error":"invalid join block: invalid block: Header.DataHash is different from Hash(block.Data)"}`},
		"join without metadata":     {join(simtest.Marshal(t, bare)), nil, 400, `{"error":"invalid join block: invalid block: does not have metadata"}`},
		"join a system channel":     {join(simtest.Marshal(t, system)), nil, 400, `{"error":"invalid join block: invalid config: contains consortiums`},
		"join without applications": {join(simtest.Marshal(t, ordering)), nil, 400, `{"error":"invalid join block: invalid config: must contain application config"}`},
		"join without a form":       {get("POST", all, "Content-Type", "text/plain"), nil, 400, `{"error":"unsupported Content-Type: [text/plain]"}`},
		"join with another part":    {upload{part: "block", content: good}.request(t, "POST"), nil, 400, `{"error":"form does not contains part key: config-block"}`},
		"join with one part more":   {upload{part: "config-block", content: good, extra: true}.request(t, "POST"), nil, 400, `{"error":"form contains too many parts"}`},
		"join by too large a block": {join(make([]byte, 1<<20)), nil, 400, `{"error":"cannot read form from request body`},
		"update by garbage":         {upload{part: "config-update-envelope", content: []byte("garbage")}.request(t, "PUT"), nil, 400, `{"error":"cannot unmarshal file part config-update-envelope`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			handler := &participation.Handler{Channels: &fake{names: []string{"trade"}, err: test.err}, MaxBody: 1 << 16}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, test.request)
			if w.Code != test.want || !strings.HasPrefix(w.Body.String(), test.body) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, test.want, test.body)
			}
			if test.want == 405 && w.Header().Get("Allow") == "" {
				t.Error("it does not say what is allowed")
			}
			if test.want == 201 && w.Header().Get("Location") != one {
				t.Errorf("location %q", w.Header().Get("Location"))
			}
		})
	}
	t.Run("disabled", func(t *testing.T) {
		w := httptest.NewRecorder()
		(&participation.Handler{Disabled: true}).ServeHTTP(w, get("GET", all))
		if w.Code != 503 {
			t.Errorf("got %d", w.Code)
		}
	})
	t.Run("no channels", func(t *testing.T) {
		w := httptest.NewRecorder()
		(&participation.Handler{Channels: &fake{}}).ServeHTTP(w, get("GET", all))
		if got := strings.TrimSpace(w.Body.String()); got != `{"systemChannel":null,"channels":null}` {
			t.Errorf("got %s", got)
		}
	})
}

func TestUpdate(t *testing.T) {
	org := simtest.NewOrg(t, "ord")
	spec := simtest.Channel{ID: "trade", Orderers: org, Endpoints: []string{"127.0.0.1:1"}}
	update := simtest.Update(t, "trade", spec.Config(t), func(g *cb.ConfigGroup) { g.ModPolicy = "/Channel/Admins" }, org.Signer(t, "admin", 0))
	for want, err := range map[int]error{
		201: nil, 400: errors.New("no"), 403: registry.ErrFollower, 405: registry.ErrNotExist, 409: registry.ErrRemoving, 500: registry.ErrRemoval,
	} {
		w := httptest.NewRecorder()
		request := upload{part: "config-update-envelope", content: simtest.Marshal(t, update)}.request(t, http.MethodPut)
		(&participation.Handler{Channels: &fake{err: err}, MaxBody: 1 << 16}).ServeHTTP(w, request)
		if w.Code != want || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%v: got %d %s, want %d", err, w.Code, w.Body, want)
		}
	}
	if _, err := participation.UpdateHeader(simtest.Transaction(t, org.Signer(t, "admin", 0), "trade", nil)); err == nil {
		t.Error("another transaction was taken for an update")
	}
}

// FuzzJoinBlock gives the handler whatever an administrator may upload.
func FuzzJoinBlock(f *testing.F) {
	f.Add(simtest.Marshal(f, genesis(f, nil)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		block := &cb.Block{}
		if proto.Unmarshal(raw, block) != nil {
			return
		}
		config, err := participation.JoinBlock(block)
		if err == nil && channel.ValidID(config.ID()) != nil {
			t.Errorf("a channel called %q", config.ID())
		}
	})
}
