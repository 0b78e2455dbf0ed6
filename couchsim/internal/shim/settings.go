package shim

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// maxSettings bounds a file of settings.
const maxSettings = 1 << 20

// ReadAddress reads from the *.ini files of a folder where to listen. As in CouchDB's image, that is port 5984 of every
// address unless they say otherwise; what a later file says goes before.
func ReadAddress(folder string) (string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.ini"))
	if err != nil {
		return "", fmt.Errorf("find settings: %w", err)
	}
	host, port := "any", "5984"
	for _, file := range files {
		values, err := readFile(file)
		if err != nil {
			return "", err
		}
		if value, ok := values["chttpd/bind_address"]; ok {
			host = value
		}
		if value, ok := values["chttpd/port"]; ok {
			port = value
		}
	}
	if host == "any" {
		host = "0.0.0.0"
	}
	if net.ParseIP(host) == nil {
		return "", fmt.Errorf("read settings: bind_address %q is neither an address nor \"any\"", host)
	}
	return net.JoinHostPort(host, port), nil
}

func readFile(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	defer f.Close()
	values, err := parseSettings(io.LimitReader(f, maxSettings))
	if err != nil {
		return nil, fmt.Errorf("read settings %q: %w", file, err)
	}
	return values, nil
}

// parseSettings reads sections of name = value lines; the result is by section/name.
func parseSettings(r io.Reader) (map[string]string, error) {
	out, section := map[string]string{}, ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == ';' || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1 : len(line)-1]
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil, fmt.Errorf("line %q is neither a section nor a setting", line)
			}
			out[section+"/"+strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return out, nil
}
