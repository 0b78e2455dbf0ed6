package channel

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// memory is what the operator last brought to the ledger. With it a change of the spec can be told from a change that
// was made elsewhere: the first is carried out, the second is never undone. It is kept on the genesis ConfigMap, so it
// outlives the Channel and its status; design/0003-channel-config.md says why.
type memory struct {
	// Generation of the spec that was last carried out in full.
	Generation int64 `json:"generation,omitempty"`
	// Wish holds the settings as they were last carried out.
	Wish settings `json:"wish"`
	// Accepted holds settings of the ledger that differ from the wish and were accepted.
	Accepted settings `json:"accepted,omitempty"`
	// Tries are wishes that are on their way.
	Tries map[string]try `json:"tries,omitempty"`
	// Lost are settings of the ledger that have overtaken a wish: only a person can accept them.
	Lost settings `json:"lost,omitempty"`
}

// try is a wish that is on its way to the ledger.
type try struct {
	// Wish as it was first acted on, and what the ledger had then.
	Wish   string `json:"wish"`
	Ledger string `json:"ledger"`
	// Before is the wish that was on its way when this one replaced it: it may still arrive.
	Before string `json:"before,omitempty"`
}

// annotationMemory on the genesis ConfigMap.
const annotationMemory = "heddle.dev/applied-settings"

func parseMemory(text string) (*memory, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing is remembered: an answer, not an error
	}
	m := &memory{}
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("read annotation %s: %w", annotationMemory, err)
	}
	return m, nil
}

func (m *memory) encode() (string, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("write annotation %s: %w", annotationMemory, err)
	}
	return string(raw), nil
}

// verdict is what a comparison of wish, ledger and memory comes to. Both lists are sorted.
type verdict struct {
	// ours are settings that the spec wants changed.
	ours []string
	// theirs are settings that were changed elsewhere.
	theirs []string
}

// compare tells, setting by setting, who changed what. Without a memory nothing can be told to be a new wish, so all
// differences count as made elsewhere: nothing is ever undone by mistake.
func compare(wish, ledger settings, m *memory) verdict {
	var v verdict
	for _, key := range union(wish, ledger) {
		w, l := wish[key], ledger[key]
		switch {
		case w == l:
		case m != nil && m.Wish[key] != w:
			v.ours = append(v.ours, key)
		case m != nil && m.Accepted[key] == orAbsent(l):
		default:
			v.theirs = append(v.theirs, key)
		}
	}
	return v
}

// learn is the memory after what was seen now: a wish that the ledger meets has been carried out.
func (m *memory) learn(wish, ledger settings, v verdict, generation int64) *memory {
	next := &memory{Wish: settings{}, Accepted: settings{}}
	if m != nil {
		next.Generation, next.Tries, next.Lost = m.Generation, maps.Clone(m.Tries), maps.Clone(m.Lost)
		maps.Copy(next.Wish, m.Wish)
		maps.Copy(next.Accepted, m.Accepted)
	}
	for _, key := range union(wish, next.Wish) {
		switch w := wish[key]; {
		case w == ledger[key]:
			set(next.Wish, key, w)
			delete(next.Accepted, key)
		case m == nil:
			set(next.Wish, key, w)
		}
	}
	maps.DeleteFunc(next.Accepted, func(key, l string) bool { return orAbsent(ledger[key]) != l })
	maps.DeleteFunc(next.Lost, func(key, l string) bool { return orAbsent(ledger[key]) != l || wish[key] == ledger[key] })
	if len(v.ours) == 0 {
		next.Generation = generation
	}
	return next
}

// overtake gives up wishes that somebody else's change of the same setting has overtaken while they were on their way:
// one of two sites that change a setting at once wins, and the other one sees it and decides anew. It is called on what
// is learnt, with the memory from before.
func (m *memory) overtake(before *memory, wish, ledger settings, ours []string) *memory {
	tries := map[string]try{}
	for _, key := range ours {
		w, l := wish[key], ledger[key]
		t, ok := before.Tries[key]
		switch {
		case !ok:
			tries[key] = try{Wish: w, Ledger: l}
		case t.Wish != w:
			tries[key] = try{Wish: w, Ledger: l, Before: t.Wish}
		case t.Ledger == l:
			tries[key] = t
		case t.Before != "" && t.Before == l:
			tries[key] = try{Wish: w, Ledger: l}
		default:
			set(m.Wish, key, w)
			if m.Lost == nil {
				m.Lost = settings{}
			}
			m.Lost[key] = orAbsent(l)
		}
	}
	m.Tries = nil
	if len(tries) > 0 {
		m.Tries = tries
	}
	return m
}

// accept notes that settings changed elsewhere are fine as they are.
func (m *memory) accept(ledger settings, theirs []string) *memory {
	next := &memory{Generation: m.Generation, Wish: maps.Clone(m.Wish), Accepted: maps.Clone(m.Accepted), Tries: m.Tries, Lost: maps.Clone(m.Lost)}
	if next.Accepted == nil {
		next.Accepted = settings{}
	}
	for _, key := range theirs {
		next.Accepted[key] = orAbsent(ledger[key])
		delete(next.Lost, key)
	}
	return next
}

// orAbsent gives a setting that is not there a value that no ledger has, so that its absence can be remembered.
func orAbsent(value string) string {
	if value == "" {
		return "-"
	}
	return value
}

func set(s settings, key, value string) {
	if value == "" {
		delete(s, key)
		return
	}
	s[key] = value
}

func (m *memory) equal(o *memory) bool {
	if m == nil || o == nil {
		return m == o
	}
	return m.Generation == o.Generation && maps.Equal(m.Wish, o.Wish) && maps.Equal(m.Accepted, o.Accepted) && maps.Equal(m.Tries, o.Tries) && maps.Equal(m.Lost, o.Lost)
}

func union(a, b settings) []string {
	all := make(map[string]bool, len(a)+len(b))
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}
