package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the program available to the scripts under its own name and
// under those it is installed as, which is what an installed copy looks at.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"heddle-builder": main, "detect": main, "build": main, "release": main, "run": main,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}
