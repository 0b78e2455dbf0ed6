package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

// versionInfo is what version prints.
type versionInfo struct {
	Version string `json:"version"`
	API     string `json:"api"`
	Go      string `json:"go"`
	System  string `json:"system"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print the version of this command",
		Example:           a.text("  %[1]s version\n  %[1]s version -o json"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{
				Version: a.version,
				API:     v1alpha1.GroupVersion.String(),
				Go:      runtime.Version(),
				System:  runtime.GOOS + "/" + runtime.GOARCH,
			}
			return a.print(output.Document{Value: v, Names: []string{v.Version}, Table: func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "heddle %s (API %s, %s, %s)\n", v.Version, v.API, v.Go, v.System)
				return err
			}})
		},
	}
}
