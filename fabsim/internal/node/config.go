package node

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ConfigOptions say where a configuration comes from.
type ConfigOptions struct {
	// Name of the file without its ending, "core" or "orderer"; in capitals
	// it is also the prefix of the environment's variables.
	Name string
	// Environ is the environment as os.Environ gives it. FABRIC_CFG_PATH in it
	// names the folder of the file; without it the working folder and then
	// /etc/hyperledger/fabric are searched.
	Environ []string
	// EmptyCounts lets a variable that is present and empty override the file,
	// as it does for peers but not for orderers.
	EmptyCounts bool
}

// Config is a node's configuration: a file and the environment over it.
// Keys are written with dots, as "peer.tls.enabled"; neither they nor the
// variables' names mind case.
//
// The getters never fail at once: what is wrong is gathered, so that the user
// is told everything in one go. Read all settings, then ask Err.
// A Config is not for concurrent use.
type Config struct {
	prefix      string
	emptyCounts bool
	dir         string
	tree        map[string]any
	env         map[string]string
	problems    []error
}

// LoadConfig reads a configuration.
func LoadConfig(o ConfigOptions) (*Config, error) {
	c := &Config{prefix: strings.ToUpper(o.Name) + "_", emptyCounts: o.EmptyCounts, env: map[string]string{}}
	folders := []string{".", "/etc/hyperledger/fabric"}
	for _, entry := range o.Environ {
		name, value, _ := strings.Cut(entry, "=")
		name = strings.ToUpper(name)
		if strings.HasPrefix(name, c.prefix) {
			c.env[name] = value
		}
		if name == "FABRIC_CFG_PATH" && value != "" {
			folders = append([]string{value}, folders...)
		}
	}
	for _, folder := range folders {
		file := filepath.Join(folder, o.Name+".yaml")
		content, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		var tree map[string]any
		if err := yaml.Unmarshal(content, &tree); err != nil {
			return nil, fmt.Errorf("parse configuration %s: %w", file, err)
		}
		c.dir, c.tree = folder, lowerKeys(tree)
		return c, nil
	}
	return nil, fmt.Errorf("find configuration: no %s.yaml in %s (set FABRIC_CFG_PATH)", o.Name, strings.Join(folders, ", "))
}

func lowerKeys(in map[string]any) map[string]any {
	out := make(map[string]any, len(in))
	for key, value := range in {
		if sub, ok := value.(map[string]any); ok {
			value = lowerKeys(sub)
		}
		out[strings.ToLower(key)] = value
	}
	return out
}

// Err is everything that was wrong with the settings read so far, or nil.
func (c *Config) Err() error { return errors.Join(c.problems...) }

// Reject notes a problem with a setting that only its reader can see.
func (c *Config) Reject(key string, err error) {
	c.problems = append(c.problems, fmt.Errorf("setting %s (%s): %w", key, c.variable(key), err))
}

func (c *Config) variable(key string) string {
	return c.prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Value is a setting as it stands: a string of the environment, or what the
// file has (a string, a number, a list, a map with keys in small letters).
// It tells whether there is one.
func (c *Config) Value(key string) (any, bool) {
	if value, ok := c.env[c.variable(key)]; ok && (value != "" || c.emptyCounts) {
		return value, true
	}
	var at any = c.tree
	for name := range strings.SplitSeq(strings.ToLower(key), ".") {
		branch, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = branch[name]; !ok {
			return nil, false
		}
	}
	return at, at != nil
}

// Decode reads a structured setting, such as peer.chaincode's list of
// builders: from the environment as YAML, else from the file. It leaves into
// as it is when there is no such setting. Fields are found by their yaml tags.
func (c *Config) Decode(key string, into any) {
	value, ok := c.Value(key)
	if !ok || value == "" {
		return
	}
	text, isText := value.(string)
	if !isText {
		raw, err := yaml.Marshal(value)
		if err != nil {
			c.Reject(key, err)
			return
		}
		text = string(raw)
	}
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		c.Reject(key, err)
	}
}

// Map is a setting that is a map of texts, such as the file's whole branch
// with the variables over single leaves that the file has.
func (c *Config) Map(key string) map[string]string {
	out := map[string]string{}
	value, _ := c.Value(key)
	branch, ok := value.(map[string]any)
	if !ok {
		return out
	}
	for name := range maps.Keys(branch) {
		out[name] = c.String(key+"."+name, "")
	}
	return out
}

// String is a text, or otherwise.
func (c *Config) String(key, otherwise string) string {
	value, ok := c.Value(key)
	if !ok {
		return otherwise
	}
	return fmt.Sprint(value)
}

// Bool is a truth value, or otherwise.
func (c *Config) Bool(key string, otherwise bool) bool {
	return scalar(c, key, otherwise, strconv.ParseBool)
}

// Int is a whole number, or otherwise.
func (c *Config) Int(key string, otherwise int) int {
	return scalar(c, key, otherwise, strconv.Atoi)
}

// Float is a number, or otherwise.
func (c *Config) Float(key string, otherwise float64) float64 {
	return scalar(c, key, otherwise, func(text string) (float64, error) { return strconv.ParseFloat(text, 64) })
}

// Duration is a time such as "10s", or otherwise.
func (c *Config) Duration(key string, otherwise time.Duration) time.Duration {
	return scalar(c, key, otherwise, func(text string) (time.Duration, error) {
		if nanos, err := strconv.ParseInt(text, 10, 64); err == nil {
			return time.Duration(nanos), nil
		}
		return time.ParseDuration(text)
	})
}

// Size is a number of bytes such as "10 MB" or 4096, or otherwise.
func (c *Config) Size(key string, otherwise int64) int64 { return scalar(c, key, otherwise, parseSize) }

func scalar[T any](c *Config, key string, otherwise T, parse func(string) (T, error)) T {
	text := strings.TrimSpace(c.String(key, ""))
	if text == "" {
		return otherwise
	}
	value, err := parse(text)
	if err != nil {
		c.Reject(key, err)
		return otherwise
	}
	return value
}

func parseSize(text string) (int64, error) {
	match := regexp.MustCompile(`(?i)^([0-9]+)\s*([kmg]?)b?$`).FindStringSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("%q is no size in bytes", text)
	}
	size, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return 0, err
	}
	shift := map[string]uint{"": 0, "k": 10, "m": 20, "g": 30}[strings.ToLower(match[2])]
	if size > math.MaxUint32>>shift {
		return 0, fmt.Errorf("%q is more than a size can be", text)
	}
	return size << shift, nil
}

// Strings is a list of texts: of the file, or of the environment in the forms
// "[a, b]", "a,b" and "a b".
func (c *Config) Strings(key string) []string {
	value, _ := c.Value(key)
	var out []string
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			out = append(out, fmt.Sprint(item))
		}
	case string:
		text := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(value), "["), "]")
		for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
			if item = strings.Trim(item, `"'`); item != "" {
				out = append(out, item)
			}
		}
	}
	return out
}

// Path is a file or folder; relative ones count from the configuration's
// folder. Nothing stays nothing.
func (c *Config) Path(key, otherwise string) string { return c.resolve(c.String(key, otherwise)) }

// Paths is a list of files.
func (c *Config) Paths(key string) []string {
	var out []string
	for _, path := range c.Strings(key) {
		out = append(out, c.resolve(path))
	}
	return out
}

func (c *Config) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.dir, path)
}
