// Command kal runs kube-api-linter on packages of API types, without the large
// linter it is usually a plugin of: kal ./api/...
//
// What it checks, and what it lets pass for which reason, is in kal.yaml.
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"

	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
	kubeapilinter "sigs.k8s.io/kube-api-linter"
	"sigs.k8s.io/yaml"
)

//go:embed kal.yaml
var configuration []byte

type config struct {
	// Settings is what the linter's own documents describe.
	Settings map[string]any `json:"settings"`
	// Allowed are findings that stay, each with its reason.
	Allowed []exception `json:"allowed"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "kal: %v\n", err)
		os.Exit(1)
	}
}

func run(patterns []string) error {
	if len(patterns) == 0 {
		return errors.New("name the packages to look at, ./api/... for instance")
	}
	var c config
	if err := yaml.UnmarshalStrict(configuration, &c); err != nil {
		return fmt.Errorf("read kal.yaml: %w", err)
	}
	plugin, err := kubeapilinter.New(c.Settings)
	if err != nil {
		return err
	}
	analyzers, err := plugin.BuildAnalyzers()
	if err != nil {
		return err
	}
	loaded, err := packages.Load(&packages.Config{Mode: packages.LoadAllSyntax}, patterns...)
	if err != nil {
		return fmt.Errorf("load packages: %w", err)
	}
	if packages.PrintErrors(loaded) > 0 {
		return errors.New("load packages: they do not compile")
	}
	graph, err := checker.Analyze(analyzers, loaded, nil)
	if err != nil {
		return fmt.Errorf("analyse: %w", err)
	}
	findings, err := collect(graph)
	if err != nil {
		return err
	}
	return report(os.Stdout, findings, c.Allowed)
}
