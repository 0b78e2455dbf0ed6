package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// row is one figure, printed as one line of JSON.
type row struct {
	Bench  string  `json:"bench"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Nodes are "fabric" (real ones) or "simulated".
	Nodes string `json:"nodes"`
	// Settings is the hash of node environment, channel configuration and policy; a baseline must have the same.
	Settings string `json:"settings,omitempty"`
	// Baseline is the same figure of bare processes in the same call, Ratio the value over it.
	Baseline         *float64 `json:"baseline,omitempty"`
	BaselineSettings string   `json:"baseline_settings,omitempty"`
	Ratio            *float64 `json:"ratio,omitempty"`
	// Values and BaselineValues are the rounds behind the medians.
	Values         []float64 `json:"values"`
	BaselineValues []float64 `json:"baseline_values,omitempty"`
}

// book prints rows and keeps them in a file of the bench's name.
type book struct {
	bench string
	path  string
}

func openBook(folder, bench string) (*book, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // figures are for everybody
		return nil, fmt.Errorf("make folder for figures: %w", err)
	}
	name := bench + "-" + time.Now().UTC().Format("20060102T150405Z") + ".jsonl"
	return &book{bench: bench, path: filepath.Join(folder, name)}, nil
}

// series are the rounds of one metric on both sides.
type series struct {
	metric, unit               string
	nodes                      string // "fabric" if left out
	values, baseline           []float64
	settings, baselineSettings string
}

// write prints and keeps one metric.
func (b *book) write(s series) error {
	r := row{
		Bench: b.bench, Metric: s.metric, Unit: s.unit, Nodes: cmp.Or(s.nodes, "fabric"), Settings: s.settings,
		Value: round(median(s.values)), Values: rounded(s.values),
	}
	if len(s.baseline) > 0 {
		base := median(s.baseline)
		ratio := round(median(s.values) / base)
		base = round(base)
		r.Baseline, r.Ratio, r.BaselineValues, r.BaselineSettings = &base, &ratio, rounded(s.baseline), s.baselineSettings
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	f, err := os.OpenFile(b.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // figures are for everybody
	if err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	return f.Close()
}

// median of values; of an even number, the mean of the middle two.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func rounded(values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for _, v := range values {
		out = append(out, round(v))
	}
	return out
}
