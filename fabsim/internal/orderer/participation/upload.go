package participation

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/registry"
)

const (
	partBlock  = "config-block"
	partUpdate = "config-update-envelope"
)

func (h *Handler) join(w http.ResponseWriter, r *http.Request) {
	raw, err := h.upload(w, r, partBlock)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	block := &cb.Block{}
	if err := proto.Unmarshal(raw, block); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("cannot unmarshal file part %s into a block: %w", partBlock, err))
		return
	}
	config, err := JoinBlock(block)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("invalid join block: %w", err))
		return
	}
	joined, err := h.Channels.Join(config, block)
	if err != nil {
		failJoin(w, fmt.Errorf("cannot join: %w", err))
		return
	}
	w.Header().Set("Location", describe(joined).URL)
	answer(w, http.StatusCreated, describe(joined))
}

func failJoin(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, registry.ErrExists):
		notAllowed(w, err, http.MethodGet, http.MethodDelete)
	case errors.Is(err, registry.ErrRemoving):
		fail(w, http.StatusConflict, err)
	case errors.Is(err, registry.ErrRemoval):
		fail(w, http.StatusInternalServerError, err)
	default:
		fail(w, http.StatusBadRequest, err)
	}
}

func (h *Handler) update(w http.ResponseWriter, r *http.Request) {
	raw, err := h.upload(w, r, partUpdate)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	envelope := &cb.Envelope{}
	if err := proto.Unmarshal(raw, envelope); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("cannot unmarshal file part %s into an envelope: %w", partUpdate, err))
		return
	}
	header, err := UpdateHeader(envelope)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("invalid config update envelope: %w", err))
		return
	}
	updated, err := h.Channels.Update(r.Context(), header, envelope)
	if err != nil {
		failUpdate(w, fmt.Errorf("cannot update: %w", err))
		return
	}
	w.Header().Set("Location", describe(updated).URL)
	answer(w, http.StatusCreated, describe(updated))
}

func failUpdate(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, registry.ErrRemoving):
		status = http.StatusConflict
	case errors.Is(err, registry.ErrRemoval):
		status = http.StatusInternalServerError
	case errors.Is(err, registry.ErrNotExist):
		status = http.StatusMethodNotAllowed
	case errors.Is(err, registry.ErrFollower):
		status = http.StatusForbidden
	}
	fail(w, status, err)
}

// upload reads the one file that a form has to have.
func (h *Handler) upload(w http.ResponseWriter, r *http.Request, part string) ([]byte, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("cannot parse Mime media type: %w", err)
	}
	reader := multipart.NewReader(http.MaxBytesReader(w, r.Body, h.MaxBody), params["boundary"])
	form, err := reader.ReadForm(2 * h.MaxBody)
	if err != nil {
		return nil, fmt.Errorf("cannot read form from request body: %w", err)
	}
	defer func() { _ = form.RemoveAll() }() // nothing is on disk: all fits into memory
	if _, ok := form.File[part]; !ok {
		return nil, fmt.Errorf("form does not contains part key: %s", part)
	}
	if len(form.File) != 1 || len(form.Value) != 0 {
		return nil, errors.New("form contains too many parts")
	}
	file, err := form.File[part][0].Open()
	if err != nil {
		return nil, fmt.Errorf("cannot open file part %s from request body: %w", part, err)
	}
	defer file.Close()
	raw, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read file part %s from request body: %w", part, err)
	}
	return raw, nil
}

// JoinBlock judges a block that somebody wants to join by, and reads its
// configuration.
func JoinBlock(block *cb.Block) (*channel.Config, error) {
	if !blocks.IsConfig(block) {
		return nil, errors.New("block is not a config block")
	}
	if len(block.GetMetadata().GetMetadata()) == 0 {
		return nil, errors.New("invalid block: does not have metadata")
	}
	if block.GetHeader() == nil || blocks.CheckData(block) != nil {
		return nil, errors.New("invalid block: Header.DataHash is different from Hash(block.Data)")
	}
	config, err := channel.FromBlock(block)
	if err != nil {
		return nil, err
	}
	if _, system := config.ConsortiumsConfig(); system {
		return nil, errors.New("invalid config: contains consortiums: system channel not supported")
	}
	if _, application := config.ApplicationConfig(); !application {
		return nil, errors.New("invalid config: must contain application config")
	}
	return config, nil
}

// UpdateHeader reads the header of a configuration update.
func UpdateHeader(envelope *cb.Envelope) (*cb.ChannelHeader, error) {
	header, err := protoutil.ChannelHeader(envelope)
	if err != nil {
		return nil, err //nolint:wrapcheck // its text is the client's
	}
	if !channel.IsConfigUpdate(header) {
		return nil, errors.New("bad type")
	}
	if header.GetChannelId() == "" {
		return nil, errors.New("empty channel id")
	}
	update, _, err := channel.ParseUpdate(envelope)
	if err != nil {
		return nil, err
	}
	if update.GetChannelId() != header.GetChannelId() {
		return nil, fmt.Errorf("the update is for channel %q, its envelope for %q", update.GetChannelId(), header.GetChannelId())
	}
	return header, nil
}
