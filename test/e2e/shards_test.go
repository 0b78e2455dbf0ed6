package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// infrastructure are tests of the suite itself: they need no cluster.
var infrastructure = map[string]bool{"TestMain": true, "TestEveryTestIsInOneShard": true, "TestPattern": true, "TestSecretParts": true}

func TestEveryTestIsInOneShard(t *testing.T) {
	count := map[string]int{}
	for _, s := range Shards {
		for _, name := range s.Tests {
			count[name]++
		}
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") || infrastructure[fn.Name.Name] {
				continue
			}
			if n := count[fn.Name.Name]; n != 1 {
				t.Errorf("%s: %s is in %d shards, want 1", f, fn.Name.Name, n)
			}
			delete(count, fn.Name.Name)
		}
	}
	for name := range count {
		t.Errorf("shards name %s, which is no test", name)
	}
}

func TestPattern(t *testing.T) {
	cases := map[string]struct {
		choice string
		day    int
		want   string
	}{
		"shard":        {choice: "leaders", want: "^(TestRaftLeaderKilled|TestBFTLeaderKilled)$"},
		"two shards":   {choice: "leaders,drain", want: "^(TestRaftLeaderKilled|TestBFTLeaderKilled|TestDrain)$"},
		"pattern":      {choice: "Raft", want: "Raft"},
		"first today":  {choice: "today", day: len(Shards), want: "^(TestOneOfEachKind)$"},
		"seventh day":  {choice: "today", day: 7, want: "^(TestDrain)$"},
		"unknown name": {choice: "leaders,nonsense", want: "leaders,nonsense"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Pattern(tc.choice, tc.day); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
