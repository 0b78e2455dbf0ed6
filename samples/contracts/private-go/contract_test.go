package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const salt = "00112233445566778899aabbccddeeff"

func TestOfferStaysPrivate(t *testing.T) {
	l, c := newLedger(), new(OfferContract)
	told := func(amount string) { l.transient = map[string][]byte{"amount": []byte(amount), "salt": []byte(salt)} }
	told("125")
	if offer, err := c.Offer(l.as("A"), "o1"); err != nil || *offer != (Offer{ID: "o1", Seller: "A"}) {
		t.Fatalf("offer: %v, %v", offer, err)
	}
	if diff := cmp.Diff(map[string][]byte{"o1": []byte(`{"id":"o1","seller":"A"}`)}, l.state); diff != "" {
		t.Errorf("the public state: %s", diff)
	}
	if want := `Offered {"id":"o1","seller":"A"}`; l.event != want {
		t.Errorf("got event %s, want %s", l.event, want)
	}
	if price, err := c.Price(l.as("B"), "o1"); err != nil || *price != (Secret{Amount: 125, Salt: salt}) {
		t.Errorf("price: %v, %v", price, err)
	}
	for amount, want := range map[string]bool{"125": true, "126": false} {
		told(amount)
		if verdict, err := c.Verify(l.as("C"), "o1"); err != nil || verdict.Matches != want {
			t.Errorf("verify %s: %v, %v", amount, verdict, err)
		}
	}
	told("140")
	if err := c.SetLimit(l.as("B"), "o1"); err != nil {
		t.Fatal(err)
	}
	if limit, err := c.Limit(l.as("B"), "o1"); err != nil || limit.Amount != 140 {
		t.Errorf("limit: %v, %v", limit, err)
	}
	if limit, err := c.Limit(l.as("A"), "o1"); err == nil {
		t.Errorf("limit of another organization: %v", limit)
	}
	if err := c.Withdraw(l.as("B"), "o1"); err == nil {
		t.Error("another organization withdrew the offer")
	}
	if err := c.Withdraw(l.as("A"), "o1"); err != nil {
		t.Fatal(err)
	}
	if len(l.state) != 0 || l.private["prices/o1"] != nil {
		t.Errorf("something is left: %v %v", l.state, l.private)
	}
}

func TestRefusesSecrets(t *testing.T) {
	for name, s := range map[string]struct{ amount, salt, want string }{
		"nothing":         {"", "", `"amount"`},
		"no salt":         {"1", "", `"salt"`},
		"a short salt":    {"1", "0011", `"salt"`},
		"no number":       {"x", salt, `"amount"`},
		"a fraction":      {"1.5", salt, `"amount"`},
		"a sign":          {"+1", salt, `"amount"`},
		"below zero":      {"-1", salt, `"amount"`},
		"too large":       {"9007199254740992", salt, `"amount"`},
		"larger than all": {"99999999999999999999", salt, `"amount"`},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.transient = map[string][]byte{"amount": []byte(s.amount), "salt": []byte(s.salt)}
			_, err := new(OfferContract).Offer(l.as("A"), "o1")
			if err == nil || !strings.Contains(err.Error(), s.want) {
				t.Fatalf("got %v, want %s in it", err, s.want)
			}
		})
	}
}
