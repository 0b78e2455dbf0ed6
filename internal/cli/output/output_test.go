package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrint(t *testing.T) {
	d := Document{
		Value: map[string]any{"name": "a", "n": 1},
		Names: []string{"one", "two"},
		Table: func(w io.Writer) error {
			return Table(w, []string{"NAME", "MESSAGE"}, [][]string{{"a", "two\nlines\tand tabs"}, {"longer", ""}})
		},
	}
	for format, want := range map[Format]string{
		FormatJSON:  "{\n  \"n\": 1,\n  \"name\": \"a\"\n}\n",
		FormatYAML:  "\"n\": 1\nname: a\n",
		FormatName:  "one\ntwo\n",
		FormatTable: "NAME     MESSAGE\na        two lines and tabs\nlonger\n",
	} {
		t.Run(string(format), func(t *testing.T) {
			var out bytes.Buffer
			if err := Print(&out, format, d); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormatValidate(t *testing.T) {
	for _, f := range Formats() {
		if err := Format(f).Validate(); err != nil {
			t.Error(err)
		}
	}
	if err := Format("xml").Validate(); err == nil || !strings.Contains(err.Error(), "table, json, yaml, name") {
		t.Errorf("got %v, want the formats that are known", err)
	}
}

// buffer can be written by the step and read by the test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestProgress(t *testing.T) {
	failure := errors.New("no")
	for name, c := range map[string]struct {
		make func(io.Writer) *Progress
		run  func(note func(string)) error
		want string
	}{
		"a short step is not spoken of": {
			make: NewProgress,
			run:  func(func(string)) error { return nil },
		},
		"nor a short failure": {
			make: NewProgress,
			run:  func(func(string)) error { return failure },
		},
		"a long step speaks after two seconds": {
			make: NewProgress,
			run: func(note func(string)) error {
				note("early")
				time.Sleep(3 * time.Second)
				note("late")
				note("early")
				note("late")
				time.Sleep(time.Second)
				return nil
			},
			want: "  work: early (2.0 s)\n  work: late (3.0 s)\n✓ work  4.0 s\n",
		},
		"a long step without a note": {
			make: NewProgress,
			run: func(func(string)) error {
				time.Sleep(3 * time.Second)
				return failure
			},
			want: "  work …\n✗ work  3.0 s\n",
		},
		"steps are always spoken of": {
			make: NewSteps,
			run:  func(func(string)) error { return nil },
			want: "✓ work  0.0 s\n",
		},
		"also when they fail": {
			make: NewSteps,
			run:  func(func(string)) error { return failure },
			want: "✗ work  0.0 s\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out buffer
				want := c.run(func(string) {})
				err := c.make(&out).Step(t.Context(), "work", func(_ context.Context, note func(string)) error { return c.run(note) })
				if !errors.Is(err, want) {
					t.Errorf("got %v, want the step's own error %v", err, want)
				}
				if diff := cmp.Diff(c.want, out.String()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestSilentProgress(t *testing.T) {
	p := NewSteps(nil)
	p.Printf("nothing")
	if err := p.Step(t.Context(), "work", func(context.Context, func(string)) error { return fmt.Errorf("x") }); err == nil {
		t.Error("the error was swallowed")
	}
}
