package differential

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

const channels = "/participation/v1/channels"

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// web is a client of an orderer's participation API.
type web struct {
	r       *recorder
	orderer *bare.Orderer
	certs   []tls.Certificate
	// accept and form replace what the client usually sends.
	accept, contentType string
}

// call makes one request and notes the answer.
func (w web) call(method, path string, body []byte) *step {
	r := w.r
	r.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.orderer.Org.TLSRoots())
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: w.certs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(r.ctx(), method, "https://"+w.orderer.Admin+path, bytes.NewReader(body))
	ok(r.T, err)
	if w.contentType != "" {
		request.Header.Set("Content-Type", w.contentType)
	}
	if w.accept != "" {
		request.Header.Set("Accept", w.accept)
	}
	note := r.note(step{Do: method + " " + path})
	response, err := client.Do(request)
	if err != nil {
		note.Answer = "no answer"
		note.Says = clean(err.Error())
		return note
	}
	defer response.Body.Close()
	note.Answer = response.Status
	for _, name := range []string{"Content-Type", "Location", "Allow", "Cache-Control"} {
		if value := response.Header.Get(name); value != "" {
			note.fact(name, value)
		}
	}
	text, err := io.ReadAll(response.Body)
	ok(r.T, err)
	var answer map[string]any
	if json.Unmarshal(text, &answer) == nil {
		if said, is := answer["error"].(string); is {
			note.say(said)
			return note
		}
		delete(answer, "height") // grows meanwhile
		sortChannels(answer)
		note.Payload = answer
		return note
	}
	if len(text) > 0 {
		note.say(string(text))
	}
	return note
}

func form(r *recorder, part string, content []byte) (body []byte, contentType string) {
	var out bytes.Buffer
	writer := multipart.NewWriter(&out)
	w, err := writer.CreateFormFile(part, "config.block")
	ok(r.T, err)
	_, err = w.Write(content)
	ok(r.T, err)
	ok(r.T, writer.Close())
	return out.Bytes(), writer.FormDataContentType()
}

// join posts a block.
func (w web) join(do string, part string, content []byte) {
	var body []byte
	body, w.contentType = form(w.r, part, content)
	note := w.call(http.MethodPost, channels, body)
	note.Do = do
}

func (r *recorder) admin(o *bare.Orderer) web {
	return web{r: r, orderer: o, certs: []tls.Certificate{*o.Org.AdminTLS}}
}

// participations ask an orderer's API for channels.
func participations() []scenario {
	return []scenario{
		{name: "participation-list", run: func(r *recorder) {
			w := r.admin(r.orderer)
			w.call(http.MethodGet, channels, nil)
			w.call(http.MethodGet, channels+"/"+trade, nil)
			w.call(http.MethodGet, channels+"/", nil)
		}},
		{name: "participation-errors", run: func(r *recorder) {
			w := r.admin(r.orderer)
			w.call(http.MethodGet, channels+"/nowhere", nil)
			w.call(http.MethodGet, channels+"/Not%20A%20Name", nil)
			w.call(http.MethodDelete, channels+"/nowhere", nil)
			w.call(http.MethodDelete, channels+"/Not%20A%20Name", nil)
			w.call(http.MethodDelete, channels, nil)
			w.call(http.MethodPut, channels, nil)
			w.call(http.MethodPut, channels+"/"+trade, nil)
			w.call(http.MethodPost, channels+"/"+trade, nil)
			w.call(http.MethodGet, "/participation/v1/", nil)
			w.call(http.MethodGet, "/nowhere", nil)
			w.accept = "text/plain"
			w.call(http.MethodGet, channels, nil)
		}},
		{name: "participation-join-errors", run: func(r *recorder) {
			w := r.admin(r.orderer)
			w.join("no block", "config-block", nil)
			w.join("garbage", "config-block", []byte("garbage"))
			w.join("wrong part", "something", encode(r.T, r.Genesis))
			w.call(http.MethodPost, channels, []byte("no form"))
			w.contentType = "application/json"
			w.call(http.MethodPost, channels, []byte("{}"))
			w.contentType = "multipart/form-data"
			w.call(http.MethodPost, channels, []byte("no boundary"))
			w.join("channel that is there", "config-block", encode(r.T, r.Genesis))
			other := proto.CloneOf(r.Genesis)
			other.Data.Data = [][]byte{[]byte("garbage")}
			w.join("block without a configuration", "config-block", encode(r.T, other))
			other = proto.CloneOf(r.Genesis)
			other.Header.DataHash = []byte("wrong")
			w.join("block with a wrong hash", "config-block", encode(r.T, other))
			bad, err := r.genesis("Not A Name")
			if err != nil {
				r.note(step{Do: "make a channel of a bad name"}).fact("refused", true)
				return
			}
			w.join("bad name", "config-block", encode(r.T, bad))
		}},
		{name: "participation-without-certificate", run: func(r *recorder) {
			w := r.admin(r.orderer)
			w.certs = nil
			w.call(http.MethodGet, channels, nil)
			strange, err := bare.NewOrg("strange")
			ok(r.T, err)
			w.certs = []tls.Certificate{*strange.AdminTLS}
			w.call(http.MethodGet, channels, nil)
		}},
		{name: "participation-with-expired-certificate", run: func(r *recorder) {
			key, err := pki.NewKey()
			ok(r.T, err)
			cert, err := r.OrdererOrg.TLSOps.IssueTLS(pki.TLSRequest{
				CommonName: "late", SANs: []string{"late"}, Public: key.Public(), Lifetime: time.Minute, Now: time.Now().Add(-8 * time.Minute),
			})
			ok(r.T, err)
			late, err := admin.ClientCertificate(pki.EncodeCerts(append([]*x509.Certificate{cert}, r.OrdererOrg.TLSOps.Chain()...)...), key)
			ok(r.T, err)
			w := r.admin(r.orderer)
			w.certs = []tls.Certificate{*late}
			w.call(http.MethodGet, channels, nil)
		}},
		{name: "participation-join-and-leave", run: joinAndLeave},
	}
}

func sortChannels(answer map[string]any) {
	list, _ := answer["channels"].([]any)
	slices.SortFunc(list, func(a, b any) int {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return bytes.Compare(x, y)
	})
}

// genesis is the first block of a channel like the others.
func (r *recorder) genesis(id string) (*cb.Block, error) {
	c, err := r.Channel()
	if err != nil {
		return nil, err
	}
	c.ID = id
	return channelconfig.Genesis(c, time.Now())
}

// joinAndLeave has an orderer follow a channel and leave it, then lead one of
// its own.
func joinAndLeave(r *recorder) {
	w := r.admin(r.spare)
	w.call(http.MethodGet, channels, nil)
	w.join("join as a follower", "config-block", encode(r.T, r.Genesis))
	w.join("join again", "config-block", encode(r.T, r.Genesis))
	ok(r.T, eventually(r.ctx(), func() error { return w.until("active") }))
	w.call(http.MethodGet, channels+"/"+trade, nil)
	w.call(http.MethodDelete, channels+"/"+trade, nil)
	ok(r.T, eventually(r.ctx(), func() error { return w.until("") }))
	w.call(http.MethodGet, channels+"/"+trade, nil)
	w.call(http.MethodDelete, channels+"/"+trade, nil)
	w.call(http.MethodGet, channels, nil)
}

// until waits for a status in the channel, or for there to be none.
func (w web) until(status admin.Status) error {
	p, err := w.orderer.Participation()
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(w.r.Context(), patience)
	defer cancel()
	info, err := p.Info(ctx, trade)
	if status == "" && err != nil {
		return nil
	}
	if err == nil && info.Status != status {
		err = errNotYet
	}
	return err
}

// operations ask the other HTTP server of nodes.
func operations() []scenario {
	return []scenario{{name: "operations", run: func(r *recorder) {
		client := &http.Client{Timeout: patience}
		for _, node := range []struct{ name, address string }{{"peer", r.peerA.Operations}, {"orderer", r.orderer.Operations}} {
			for _, path := range []string{"/healthz", "/version", "/metrics", "/logspec", "/nowhere"} {
				request, err := http.NewRequestWithContext(r.ctx(), http.MethodGet, "http://"+node.address+path, nil)
				ok(r.T, err)
				note := r.note(step{Do: node.name + " " + path})
				response, err := client.Do(request)
				ok(r.T, err)
				text, err := io.ReadAll(response.Body)
				ok(r.T, err)
				ok(r.T, response.Body.Close())
				note.Answer = response.Status
				var answer map[string]any
				if json.Unmarshal(text, &answer) == nil {
					var keys []string
					for key := range answer {
						keys = append(keys, key)
					}
					note.fact("keys", sorted(keys))
				}
			}
		}
	}}}
}
