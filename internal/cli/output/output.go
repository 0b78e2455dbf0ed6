// Package output prints what commands found: tables for people, JSON, YAML and names for programs,
// and progress of long steps. It knows nothing of clusters; internal/cli is above it.
package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// Format is a value of --output.
type Format string

// The formats of --output.
const (
	FormatTable Format = "table"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
	FormatName  Format = "name"
)

// Formats lists the values of --output.
func Formats() []string {
	return []string{string(FormatTable), string(FormatJSON), string(FormatYAML), string(FormatName)}
}

// Validate says whether the format is known.
func (f Format) Validate() error {
	switch f {
	case FormatTable, FormatJSON, FormatYAML, FormatName:
		return nil
	}
	return fmt.Errorf("unknown output format %q: use one of %s", string(f), strings.Join(Formats(), ", "))
}

// Document is what a command prints, in every form it can take.
type Document struct {
	// Value is printed as JSON or YAML.
	Value any
	// Names are printed one a line by -o name.
	Names []string
	// Table writes the form for people.
	Table func(io.Writer) error
}

// Print writes the document in the format.
func Print(w io.Writer, f Format, d Document) error {
	switch f {
	case FormatJSON:
		b, err := json.MarshalIndent(d.Value, "", "  ")
		if err != nil {
			return fmt.Errorf("print JSON: %w", err)
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return err
	case FormatYAML:
		b, err := yaml.Marshal(d.Value)
		if err != nil {
			return fmt.Errorf("print YAML: %w", err)
		}
		_, err = w.Write(b)
		return err
	case FormatName:
		for _, n := range d.Names {
			if _, err := fmt.Fprintln(w, n); err != nil {
				return err
			}
		}
		return nil
	}
	return d.Table(w)
}

// Table writes aligned columns. Cells lose line breaks and tabs, which would break the columns.
func Table(w io.Writer, header []string, rows [][]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 4, 3, ' ', 0)
	if len(header) > 0 {
		fmt.Fprintln(t, strings.Join(header, "\t"))
	}
	clean := strings.NewReplacer("\n", " ", "\r", " ", "\t", " ")
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = clean.Replace(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}
