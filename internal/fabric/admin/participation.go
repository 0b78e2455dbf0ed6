package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
)

const (
	participationPath = "/participation/v1/channels"
	participationPart = "config-block"
	// maxAnswer bounds what an orderer may tell us.
	maxAnswer   = 1 << 20
	idleTimeout = 30 * time.Second
)

// The outcomes that callers tell apart.
var (
	// ErrChannelNotFound says that the node is not part of the channel.
	ErrChannelNotFound = errors.New("the node is not part of the channel")
	// ErrChannelExists says that the node is part of the channel already.
	ErrChannelExists = errors.New("the node is part of the channel already")
	// ErrChannelBusy says that the node is joining or leaving the channel.
	ErrChannelBusy = errors.New("the node is joining or leaving the channel")
)

// Relation is what an orderer is to a channel.
type Relation string

// The relations.
const (
	Consenter Relation = "consenter"
	Follower  Relation = "follower"
)

// Status is what an orderer does in a channel.
type Status string

// The statuses.
const (
	Active     Status = "active"
	OnBoarding Status = "onboarding"
	Inactive   Status = "inactive"
	Failed     Status = "failed"
)

// ChannelInfo is an orderer's view of a channel.
type ChannelInfo struct {
	Name     string   `json:"name"`
	Relation Relation `json:"consensusRelation"`
	Status   Status   `json:"status"`
	Height   uint64   `json:"height"`
}

// Participation is an orderer's API to join and leave channels.
type Participation struct {
	address string
	client  *http.Client
}

// NewParticipation prepares the API of an orderer. Target.Address is the admin
// listener; Target.Certificate is needed.
func NewParticipation(t Target) (*Participation, error) {
	config, err := t.tlsConfig()
	if err != nil {
		return nil, err
	}
	if t.Certificate == nil {
		return nil, fmt.Errorf("connect to %q: participation needs a client certificate", t.Address)
	}
	return &Participation{address: t.Address, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: config, DialContext: t.dialer(), IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: 1,
	}}}, nil
}

// Close drops idle connections.
func (p *Participation) Close() { p.client.CloseIdleConnections() }

// List names the channels that the orderer is part of, sorted.
func (p *Participation) List(ctx context.Context) ([]string, error) {
	var answer struct {
		Channels []ChannelInfo `json:"channels"`
	}
	if err := p.call(ctx, http.MethodGet, "", nil, &answer); err != nil {
		return nil, fmt.Errorf("list channels of %s: %w", p.address, err)
	}
	names := make([]string, 0, len(answer.Channels))
	for _, channel := range answer.Channels {
		names = append(names, channel.Name)
	}
	slices.Sort(names)
	return names, nil
}

// Info is the orderer's view of one channel, or ErrChannelNotFound.
func (p *Participation) Info(ctx context.Context, channelID string) (ChannelInfo, error) {
	var info ChannelInfo
	if err := p.call(ctx, http.MethodGet, "/"+url.PathEscape(channelID), nil, &info); err != nil {
		return info, fmt.Errorf("ask %s for channel %q: %w", p.address, channelID, err)
	}
	return info, nil
}

// Join makes the orderer part of the channel whose genesis block or newest
// config block it is given, or fails with ErrChannelExists. An orderer that is
// to become a consenter joins with the newest config block first and follows;
// the update that makes it one comes afterwards.
func (p *Participation) Join(ctx context.Context, config *cb.Block) (ChannelInfo, error) {
	raw, err := proto.Marshal(config)
	if err != nil {
		return ChannelInfo{}, fmt.Errorf("encode block: %w", err)
	}
	var info ChannelInfo
	if err := p.call(ctx, http.MethodPost, "", raw, &info); err != nil {
		return info, fmt.Errorf("join %s to a channel: %w", p.address, err)
	}
	return info, nil
}

// RemovePatience is how long to wait for Remove. An evicted orderer follows the channel until then, and first ends a
// look at the heights of all orderers, its own among them, which it cannot tell while it removes the channel: that takes
// up to General.Cluster's DialTimeout and ReplicationPullTimeout, 5 s each (orderer/common/follower and cluster in Fabric).
const RemovePatience = 20 * time.Second

// Remove takes the channel off the orderer, with all of its blocks, or fails
// with ErrChannelNotFound. The orderer goes on at it after the answer: Info
// shows when the channel is gone, and until then Remove fails with
// ErrChannelBusy.
func (p *Participation) Remove(ctx context.Context, channelID string) error {
	if err := p.call(ctx, http.MethodDelete, "/"+url.PathEscape(channelID), nil, nil); err != nil {
		return fmt.Errorf("remove channel %q from %s: %w", channelID, p.address, err)
	}
	return nil
}

func (p *Participation) call(ctx context.Context, method, path string, block []byte, answer any) error {
	body, contentType, err := form(block)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+p.address+participationPath+path, body)
	if err != nil {
		return err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return unwrapURL(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return refusal(method, response.StatusCode, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func form(block []byte) (io.Reader, string, error) {
	if block == nil {
		return nil, "", nil
	}
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	part, err := writer.CreateFormFile(participationPart, "config.block")
	if err != nil {
		return nil, "", fmt.Errorf("encode form: %w", err)
	}
	if _, err := part.Write(block); err != nil {
		return nil, "", fmt.Errorf("encode form: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, "", fmt.Errorf("encode form: %w", err)
	}
	return &body, writer.FormDataContentType(), nil
}

func refusal(method string, status int, text []byte) error {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Error == "" {
		answer.Error = http.StatusText(status)
	}
	switch {
	case status == http.StatusNotFound:
		return ErrChannelNotFound
	case status == http.StatusConflict:
		return fmt.Errorf("%w: %s", ErrChannelBusy, answer.Error)
	case status == http.StatusMethodNotAllowed && method == http.MethodPost:
		return ErrChannelExists
	}
	return fmt.Errorf("the orderer refuses (%d): %s", status, answer.Error)
}

// unwrapURL drops the request line that net/http repeats in its errors.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
