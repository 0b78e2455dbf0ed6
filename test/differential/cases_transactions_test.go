package differential

import (
	"strings"

	"github.com/hyperledger/fabric-gateway/pkg/client"
)

// transactions are valid ones of every shape.
func transactions() []scenario {
	return []scenario{
		{name: "create", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "put", r.key("a"), "1")
			r.ask(r.clientB, trade, "probe", "get", r.key("a"))
		}},
		{name: "update", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "update", r.key("a"), "1")
			r.transact(r.clientB, "probe", "update", r.key("a"), "2")
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
		}},
		{name: "delete", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "put", r.key("a"), "1")
			r.transact(r.clientA, "probe", "del", r.key("a"))
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
			r.transact(r.clientA, "probe", "del", r.key("never there"))
		}},
		{name: "write-nothing", run: func(r *recorder) { r.transact(r.clientA, "probe", "nothing") }},
		{name: "write-twice", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "twice", r.key("a"))
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
			r.ask(r.clientA, trade, "probe", "get", r.key("a-gone"))
		}},
		{name: "read-after-write", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "readAfterWrite", r.key("a"), "1")
			r.transact(r.clientA, "probe", "readAfterWrite", r.key("a"), "2")
		}},
		{name: "empty-value", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "put", r.key("a"), "")
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
		}},
		{name: "odd-keys", run: func(r *recorder) {
			for _, key := range []string{"", "\x00zero", "\U0010ffffmax", r.key("\u00fc \u2713")} {
				r.ask(r.clientA, trade, "probe", "put", key, "1")
				r.ask(r.clientA, trade, "probe", "get", key)
			}
		}},
		{name: "many-keys", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "fill", r.key("k"), "12")
			r.ask(r.clientA, trade, "probe", "multi", r.key("k3"), r.key("none"), r.key("k11"))
		}},
		{name: "write-batch", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "batch", r.key("k"), "5")
			r.ask(r.clientA, trade, "probe", "range", r.key("k"), r.key("l"))
		}},
		{name: "large-value", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "big", r.key("a"), "262144")
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
		}},
		{name: "event", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "event", "Made", `{"a":1}`, r.key("a"))
			r.ask(r.clientA, trade, "probe", "event", "", "no name", r.key("a"))
		}},
		{name: "event-twice", run: func(r *recorder) { r.transact(r.clientA, "probe", "twoEvents", r.key("a")) }},
		{name: "transient-data", run: func(r *recorder) {
			d := newDraft(r.T, r.clientA, trade, "probe", "transient", r.key("a"))
			d.transient = map[string][]byte{"value": []byte("kept"), "other": []byte("left behind")}
			s, answers := r.invokeDraft(d)
			r.commit(s.transaction(answers...).envelope(r.T))
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
		}},
		{name: "creator", run: func(r *recorder) {
			r.ask(r.clientA, trade, "probe", "who")
			r.ask(r.adminB, trade, "probe", "who")
			r.ask(r.idB, trade, "probe", "who")
		}},
		{name: "what-the-contract-is-told", run: func(r *recorder) {
			answer := r.ask(r.clientA, trade, "probe", "about", "one", "", "\u2713")
			r.steps[0].fact("transaction id is there", strings.Contains(string(answer.GetResponse().GetPayload()), `"txID":"`))
			r.ask(r.clientA, trade, "probe", "echo")
		}},
		{name: "call-contract", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "call", "other", "", "put", r.key("a"), "1")
			r.ask(r.clientA, trade, "other", "get", r.key("a"))
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
			r.transact(r.clientA, "probe", "call", "other", "", "event", "Inner", "1", r.key("b"))
		}},
		{name: "call-contract-fails", run: func(r *recorder) {
			r.ask(r.clientA, trade, "probe", "call", "other", "", "get", "nothing")
			r.ask(r.clientA, trade, "probe", "call", "missing", "", "get", "a")
			r.ask(r.clientA, trade, "probe", "call", "other", "nowhere", "get", "a")
			r.ask(r.clientA, trade, "probe", "call", "qscc", "", "GetChainInfo", trade)
			r.ask(r.clientA, trade, "probe", "call", "_lifecycle", "", "QueryInstalledChaincodes")
		}},
		{name: "call-contract-elsewhere", run: func(r *recorder) {
			r.ask(r.adminA, trade, "other", "call", "probe", side, "put", r.key("a"), "1")
			r.ask(r.adminA, trade, "other", "call", "probe", side, "get", "nothing")
			r.ask(r.clientA, trade, "other", "call", "probe", side, "echo", "1")
		}},
		{name: "init-required", run: func(r *recorder) {
			r.ask(r.clientA, trade, "once", "put", r.key("a"), "1")
			d := newDraft(r.T, r.clientA, trade, "once", "put", r.key("a"), "1")
			d.spec.ChaincodeSpec.Input.IsInit = true
			s, answers := r.invokeDraft(d)
			r.commit(s.transaction(answers...).envelope(r.T))
			r.ask(r.clientA, trade, "once", "get", r.key("a"))
			again := newDraft(r.T, r.clientA, trade, "once", "put", r.key("a"), "1")
			again.spec.ChaincodeSpec.Input.IsInit = true
			r.propose("initialise again", r.peerA, again.seal(r.T))
			needless := newDraft(r.T, r.clientA, trade, "probe", "put", r.key("a"), "1")
			needless.spec.ChaincodeSpec.Input.IsInit = true
			r.propose("initialise what needs it not", r.peerA, needless.seal(r.T))
		}},
		{name: "one-organisation-endorses", run: func(r *recorder) {
			s, answers := r.invoke(r.clientA, trade, "solo", "put", r.key("a"), "1")
			r.commit(s.transaction(answers[1]).envelope(r.T))
			r.ask(r.clientA, trade, "solo", "get", r.key("a"))
		}},
		{name: "peer-as-client", run: func(r *recorder) { r.transact(r.idA, "probe", "put", r.key("a"), "1") }},
	}
}

// queries read many keys at once.
func queries() []scenario {
	fill := func(r *recorder) {
		r.quietly(func() { r.transact(r.clientA, "probe", "fill", r.key("k"), "7") })
	}
	return []scenario{
		{name: "range", run: func(r *recorder) {
			fill(r)
			r.ask(r.clientA, trade, "probe", "range", r.key("k"), r.key("l"))
			r.ask(r.clientA, trade, "probe", "range", r.key("k2"), r.key("k5"))
			r.ask(r.clientA, trade, "probe", "range", r.key("x"), r.key("y"))
			r.ask(r.clientA, trade, "probe", "range", r.key("k5"), r.key("k2"))
		}},
		{name: "range-in-transaction", run: func(r *recorder) {
			fill(r)
			r.transact(r.clientA, "probe", "rangeThenPut", r.key("k"), r.key("l"), r.key("count"))
		}},
		{name: "range-with-many-reads", run: func(r *recorder) {
			r.quietly(func() { r.transact(r.clientA, "probe", "fill", r.key("k"), "130") })
			r.transact(r.clientA, "probe", "rangeThenPut", r.key("k"), r.key("l"), r.key("count"))
		}},
		{name: "range-read-in-part", run: func(r *recorder) {
			fill(r)
			r.transact(r.clientA, "probe", "first", r.key("k"), r.key("l"))
		}},
		{name: "pages", run: func(r *recorder) {
			fill(r)
			for _, bookmark := range []string{"", r.key("k3"), r.key("k6"), r.key("k7")} {
				r.ask(r.clientA, trade, "probe", "page", r.key("k"), r.key("l"), "3", bookmark)
			}
			r.ask(r.clientA, trade, "probe", "page", r.key("k"), r.key("l"), "100", "")
			r.ask(r.clientA, trade, "probe", "page", r.key("k"), r.key("l"), "0", "")
		}},
		{name: "page-then-write", run: func(r *recorder) {
			fill(r)
			r.ask(r.clientA, trade, "probe", "pageThenPut", r.key("k"), r.key("l"))
		}},
		{name: "composite-keys", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "putComposite", r.name, "red", "1")
			r.quietly(func() {
				r.transact(r.clientA, "probe", "putComposite", r.name, "red", "2")
				r.transact(r.clientA, "probe", "putComposite", r.name, "blue", "1")
			})
			r.ask(r.clientA, trade, "probe", "composite", r.name)
			r.ask(r.clientA, trade, "probe", "composite", r.name, "red")
			r.ask(r.clientA, trade, "probe", "pageComposite", r.name, "2", "")
			r.ask(r.clientA, trade, "probe", "pageComposite", r.name, "2", "\x00"+r.name+"\x00red\x002\x00")
			r.ask(r.clientA, trade, "probe", "range", r.name, r.name+"~")
		}},
		{name: "history", run: func(r *recorder) {
			r.quietly(func() {
				for _, args := range [][]string{{"put", r.key("a"), "1"}, {"put", r.key("a"), "2"}, {"del", r.key("a")}, {"put", r.key("a"), "3"}} {
					r.transact(r.clientA, "probe", args...)
				}
			})
			r.ask(r.clientA, trade, "probe", "history", r.key("a"))
			r.ask(r.clientA, trade, "probe", "history", r.key("none"))
		}},
		{name: "rich-query-without-couchdb", run: func(r *recorder) {
			r.ask(r.clientA, trade, "probe", "query", `{"selector":{"owner":"alice"}}`)
			r.ask(r.clientA, trade, "probe", "pageQuery", `{"selector":{}}`, "2", "")
		}},
	}
}

// responses are what contracts answer.
func responses() []scenario {
	return []scenario{
		{name: "contract-statuses", run: func(r *recorder) {
			for _, status := range []string{"200", "201", "399", "400", "404", "499", "500", "501", "0", "-1"} {
				r.ask(r.clientA, trade, "probe", "respond", status, "said so", "payload")
			}
		}},
		{name: "contract-errors", run: func(r *recorder) {
			r.ask(r.clientA, trade, "probe", "get", "nothing")
			r.ask(r.clientA, trade, "probe", "unknown")
			r.ask(r.clientA, trade, "probe", "put", "a")
			r.ask(r.clientA, trade, "probe")
			r.ask(r.clientA, trade, "probe", "get", "")
		}},
		{name: "refused-by-contract-in-transaction", run: func(r *recorder) {
			// It comes back without an endorsement, and ordering it all the same does not help.
			s, answers := r.invoke(r.clientA, trade, "probe", "respond", "404", "not here", "")
			r.commit(s.transaction(answers...).envelope(r.T))
		}},
		{name: "evaluate-status", run: func(r *recorder) {
			for _, status := range []string{"200", "250", "404", "500"} {
				note := r.note(step{Do: "evaluate " + status})
				raw, err := r.gateway(r.peerA, r.clientA).GetNetwork(trade).GetContract("probe").EvaluateWithContext(
					r.ctx(), "respond", client.WithArguments(status, "said so", "payload"))
				note.failed(err)
				note.Payload = payload(raw)
			}
		}},
	}
}
