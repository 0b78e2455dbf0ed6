package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"

	"golang.org/x/tools/go/analysis/checker"
)

// exception lets findings pass that match both.
type exception struct {
	Linter string `json:"linter"`
	// Text is a regular expression for the finding's text.
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

type finding struct {
	position, linter, text string
}

// collect takes the findings of the named packages, not of what they import.
func collect(graph *checker.Graph) ([]finding, error) {
	var out []finding
	for _, root := range graph.Roots {
		if root.Err != nil {
			return nil, fmt.Errorf("run %s: %w", root.Analyzer.Name, root.Err)
		}
		for _, d := range root.Diagnostics {
			out = append(out, finding{root.Package.Fset.Position(d.Pos).String(), root.Analyzer.Name, d.Message})
		}
	}
	slices.SortFunc(out, func(a, b finding) int {
		if a.position < b.position {
			return -1
		}
		return 1
	})
	return out, nil
}

// report prints what no exception covers. An exception that covers nothing is an
// error too: it would hide the next finding of its kind.
func report(out io.Writer, findings []finding, allowed []exception) error {
	used := make([]bool, len(allowed))
	texts := make([]*regexp.Regexp, len(allowed))
	for i, e := range allowed {
		text, err := regexp.Compile(e.Text)
		if err != nil || e.Reason == "" {
			return fmt.Errorf("exception %d of kal.yaml needs an expression and a reason: %w", i+1, err)
		}
		texts[i] = text
	}
	count := 0
	for _, f := range findings {
		i := slices.IndexFunc(allowed, func(e exception) bool {
			return e.Linter == f.linter && texts[slices.Index(allowed, e)].MatchString(f.text)
		})
		if i >= 0 {
			used[i] = true
			continue
		}
		count++
		if _, err := fmt.Fprintf(out, "%s: %s (%s)\n", f.position, f.text, f.linter); err != nil {
			return err
		}
	}
	for i, e := range allowed {
		if !used[i] {
			return fmt.Errorf("exception %d of kal.yaml (%s, %q) covers nothing: remove it", i+1, e.Linter, e.Text)
		}
	}
	if count > 0 {
		return fmt.Errorf("%d findings", count)
	}
	return nil
}
