package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTitleChangesHands(t *testing.T) {
	l, c := newLedger(), new(TitleContract)
	steps := []struct {
		do        func() (*Title, error)
		want      Title
		wantEvent string
		wantError string
	}{
		{do: func() (*Title, error) { return c.Register(l.as("A"), "t1", "B-1") }, want: Title{ID: "t1", Plate: "B-1", Owner: "A"}, wantEvent: "TitleRegistered"},
		{do: func() (*Title, error) { return c.Register(l.as("B"), "t1", "B-1") }, wantError: "exists already"},
		{do: func() (*Title, error) { return c.Register(l.as("B"), "t 2", "") }, wantError: `plate ""`},
		{do: func() (*Title, error) { return c.SetPlate(l.as("B"), "t1", "B-2") }, wantError: "owned by A"},
		{do: func() (*Title, error) { return c.SetPlate(l.as("A"), "t1", "B-2") }, want: Title{ID: "t1", Plate: "B-2", Owner: "A"}, wantEvent: "PlateChanged"},
		{do: func() (*Title, error) { return c.Accept(l.as("B"), "t1") }, wantError: "not offered to B"},
		{do: func() (*Title, error) { return c.Offer(l.as("A"), "t1", "") }, wantError: `mspID ""`},
		{
			do:   func() (*Title, error) { return c.Offer(l.as("A"), "t1", "B") },
			want: Title{ID: "t1", Plate: "B-2", Owner: "A", OfferedTo: "B"}, wantEvent: "TitleOffered",
		},
		{do: func() (*Title, error) { return c.Accept(l.as("C"), "t1") }, wantError: "not offered to C"},
		{do: func() (*Title, error) { return c.Accept(l.as("B"), "t1") }, want: Title{ID: "t1", Plate: "B-2", Owner: "B"}, wantEvent: "TitleAccepted"},
		{do: func() (*Title, error) { return c.SetPlate(l.as("A"), "t1", "B-3") }, wantError: "owned by B"},
		{do: func() (*Title, error) { return c.Read(l.as("A"), "t2") }, wantError: "there is no title"},
	}
	for i, s := range steps {
		l.event = ""
		got, err := s.do()
		if (err == nil) != (s.wantError == "") || err != nil && !strings.Contains(err.Error(), s.wantError) {
			t.Fatalf("step %d: got error %v, want %q", i, err, s.wantError)
		}
		if name, _, _ := strings.Cut(l.event, " "); name != s.wantEvent {
			t.Errorf("step %d: got event %q, want %q", i, name, s.wantEvent)
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(s.want, *got); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
		endorsers, err := c.Endorsers(l.as("A"), "t1")
		if diff := cmp.Diff([]string{s.want.Owner}, endorsers); err != nil || diff != "" {
			t.Errorf("step %d: endorsers: %v %s", i, err, diff)
		}
	}
}
