package link

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Version of the token and of what sites say to each other.
const Version = 1

// maxToken bounds a token's text: four long endpoints fit.
const maxToken = 4096

// Token is an invitation as it is given to the other site, once, by a way that people trust.
type Token struct {
	// Version of the protocol.
	Version int `json:"v"`
	// SiteID and DisplayName of the inviting site.
	SiteID      string `json:"site"`
	DisplayName string `json:"name,omitempty"`
	// Endpoints of its gateway.
	Endpoints []string `json:"endpoints"`
	// Pin is the SHA-256 of the public key of its gateway's CA, in hexadecimal.
	Pin string `json:"pin"`
	// Code can be used once.
	Code string `json:"code"`
	// Expires is when the code stops being taken, in seconds since 1970, by the inviting site's clock.
	Expires int64 `json:"expires"`
}

// ExpiresAt is when the code stops being taken.
func (t Token) ExpiresAt() time.Time { return time.Unix(t.Expires, 0) }

// Encode writes a token as the one word that people pass on.
func (t Token) Encode() (string, error) {
	if err := t.validate(); err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(raw)
	if len(text) > maxToken {
		return "", errors.New("make token: it would be too long")
	}
	return text, nil
}

// ParseToken reads a token. No error says anything of the code.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxToken {
		return Token{}, fmt.Errorf("read token: it has %d characters: pass it on whole and alone", len(text))
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return Token{}, errors.New("read token: it is cut off or changed: pass it on whole")
	}
	var t Token
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&t); err != nil || d.More() {
		return Token{}, errors.New("read token: it is cut off or changed: pass it on whole")
	}
	if err := t.validate(); err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	return t, nil
}

func (t Token) validate() error {
	if t.Version != Version {
		return fmt.Errorf("it is of version %d and this is version %d: both sites need releases that fit", t.Version, Version)
	}
	if err := errors.Join(checkSite(t.SiteID), checkName(t.DisplayName), checkEndpoints(t.Endpoints)); err != nil {
		return err
	}
	if !pinPattern.MatchString(t.Pin) {
		return errors.New("it has no pin of the site's CA")
	}
	if !codePattern.MatchString(t.Code) {
		return errors.New("it has no code")
	}
	if t.Expires <= 0 {
		return errors.New("it has no end")
	}
	return nil
}

var (
	codePattern = regexp.MustCompile(`^[A-Z2-7]{26}$`)
	pinPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// NewCode makes a one-time code of 130 bits.
func NewCode() string { return rand.Text() }

// HashCode is what the inviting site keeps of a code. A code has too many bits to be guessed from its hash.
func HashCode(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// MatchCode tells whether a code has a hash, and takes as long either way.
func MatchCode(code, hash string) bool {
	return subtle.ConstantTimeCompare([]byte(HashCode(code)), []byte(hash)) == 1
}
