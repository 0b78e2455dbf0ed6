package link

import (
	"encoding/json"
	"errors"
	"net/http"
)

// Reasons of refusals. They are words of the protocol; handlers of documents may have others.
const (
	// RefusedCode: there is no such invitation.
	RefusedCode = "UnknownCode"
	// RefusedExpired: the invitation has ended.
	RefusedExpired = "Expired"
	// RefusedUsed: another site has used the invitation.
	RefusedUsed = "Used"
	// RefusedVoid: the invitation was used twice, or the digits did not match.
	RefusedVoid = "Void"
	// RefusedBusy: too many calls.
	RefusedBusy = "Busy"
	// RefusedInvalid: a message that does not keep to the protocol.
	RefusedInvalid = "Invalid"
	// RefusedConflict: the site is a partner already, or its name is taken.
	RefusedConflict = "Conflict"
	// RefusedPending and RefusedRevoked: documents of a partner that is not accepted, or not any more.
	RefusedPending = string(Pending)
	RefusedRevoked = string(Revoked)
	// RefusedStale: a document that is older than one that was seen.
	RefusedStale = "Stale"
	// RefusedKind: nobody here takes such documents.
	RefusedKind = "UnknownKind"
)

// Refusal is a partner's no. Its text comes from the partner.
type Refusal struct {
	// Reason is one word.
	Reason string `json:"reason"`
	// Message is a sentence for a person.
	Message string `json:"message"`
	// Last is the highest sequence that was seen, with RefusedStale.
	Last uint64 `json:"last,omitempty"`
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string { return "the partner refuses (" + r.Reason + "): " + r.Message }

// Refuse makes a refusal; the partner is told both texts.
func Refuse(reason, message string) error { return &Refusal{Reason: reason, Message: message} }

// AsRefusal finds a refusal in an error.
func AsRefusal(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}

const (
	maxReason  = 32
	maxMessage = 300
)

// answerRefusal writes a refusal. Any other error is told without its text, which may have more than the partner may know.
func answerRefusal(w http.ResponseWriter, err error) {
	r, ok := AsRefusal(err)
	if !ok {
		r = &Refusal{Reason: "Failed", Message: "The partner could not do it: its operator's log says why"}
	}
	code := http.StatusForbidden
	switch {
	case !ok:
		code = http.StatusInternalServerError
	case r.Reason == RefusedBusy:
		code = http.StatusTooManyRequests
	case r.Reason == RefusedInvalid:
		code = http.StatusBadRequest
	case r.Reason == RefusedStale:
		code = http.StatusConflict
	}
	answer(w, code, r)
}

func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// Who does not listen to the answer does not get it.
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // the values are plain
}
