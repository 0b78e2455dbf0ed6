package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "heddle.dev/heddle/"

// count is the number of statements, and of those that ran.
type count struct{ all, covered int }

func (c count) percent() float64 {
	if c.all == 0 {
		return 100
	}
	return 100 * float64(c.covered) / float64(c.all)
}

// roomOf tells the room of a package: rooms 0 to 2 of the architecture, or -1 for
// what is above them or no product code.
func roomOf(pkg string) int {
	rooms := []struct {
		room   int
		prefix []string
	}{
		{-1, []string{"internal/controller/controllertest"}},
		{0, []string{"api/", "internal/pki", "internal/fabric", "internal/attest", "internal/archive"}},
		{1, []string{"internal/kube", "internal/specs", "internal/nginx", "internal/image"}},
		{2, []string{"internal/controller", "internal/builder", "internal/build", "internal/lab", "internal/link", "internal/explorer", "internal/registry"}},
	}
	for _, r := range rooms {
		for _, p := range r.prefix {
			if pkg == strings.TrimSuffix(p, "/") || strings.HasPrefix(pkg, strings.TrimSuffix(p, "/")+"/") {
				return r.room
			}
		}
	}
	return -1
}

// parse reads the lines "file.go:1.2,3.4 STATEMENTS COUNT". A block that several
// tests saw is there several times, and ran when one of them ran it.
func parse(r io.Reader) (map[string]count, error) {
	type block struct {
		statements int
		ran        bool
	}
	blocks := map[string]block{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "mode:") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %q has not three fields", line)
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		blocks[fields[0]] = block{statements, blocks[fields[0]].ran || fields[2] != "0"}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	packages := map[string]count{}
	for position, b := range blocks {
		file, _, _ := strings.Cut(position, ":")
		if strings.HasPrefix(path.Base(file), "zz_generated") {
			continue
		}
		name := strings.TrimPrefix(path.Dir(file), module)
		c := packages[name]
		c.all += b.statements
		if b.ran {
			c.covered += b.statements
		}
		packages[name] = c
	}
	return packages, nil
}

// report prints packages and rooms, and names the rooms that are below the minimum.
func report(out io.Writer, packages map[string]count, minimum float64) error {
	rooms := map[int]count{}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		room := roomOf(name)
		if room < 0 {
			continue
		}
		c := packages[name]
		rooms[room] = count{rooms[room].all + c.all, rooms[room].covered + c.covered}
		if _, err := fmt.Fprintf(out, "%5.1f %%  room %d  %s (%d of %d)\n", c.percent(), room, name, c.covered, c.all); err != nil {
			return err
		}
	}
	var low []string
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		if _, err := fmt.Fprintf(out, "%5.1f %%  room %d in all\n", rooms[room].percent(), room); err != nil {
			return err
		}
		if rooms[room].percent() < minimum {
			low = append(low, strconv.Itoa(room))
		}
	}
	if low != nil {
		return fmt.Errorf("room %s has less than %.0f %% of its statements covered", strings.Join(low, ", "), minimum)
	}
	return nil
}
