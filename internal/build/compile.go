package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// CompileOptions say what is compiled.
type CompileOptions struct {
	// Language chooses the recipe.
	Language string
	// Source is the unpacked source; Path is the folder in it that is built.
	Source, Path string
	// Out is where the result goes, on the file system that holds Source.
	Out string
	// Cache is kept between builds.
	Cache string
	// Output is where the tools' output goes beside the log.
	Output io.Writer
	// Getenv gives the few settings that tools may have from outside, and PATH.
	Getenv func(string) string
}

// passed are the settings that tools have from the Job.
func passed() []string {
	return []string{
		"GOROOT", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOMAXPROCS", "GOMEMLIMIT",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"npm_config_registry", "npm_config_replace_registry_host", "npm_config_cafile", "npm_config_strict_ssl", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "JAVA_HOME",
	}
}

// compilation is one run of a recipe.
type compilation struct {
	CompileOptions
	recipe recipe
	// dir is the folder that is built, root the same.
	dir  string
	root *os.Root
	out  *os.Root
	log  *buildLog
	// result is filled by the steps.
	result *Compiled
	// node is the package.json of a contract for Node.
	node *nodePackage
}

// Compile runs the recipe of a language. A fault of the source is no error: it is in the result that push reports.
func Compile(ctx context.Context, o CompileOptions) error {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return fmt.Errorf("make folder of results: %w", err)
	}
	out, err := os.OpenRoot(o.Out)
	if err != nil {
		return fmt.Errorf("open folder of results: %w", err)
	}
	defer out.Close()
	file, err := out.Create(logFile)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	c := &compilation{CompileOptions: o, out: out, log: newLog(file, o.Output), result: &Compiled{}}
	killed := memoryKills(memoryFiles())
	err = c.run(ctx)
	if memoryKills(memoryFiles()) > killed {
		c.log.note("%v", errMemory)
		err = errMemory
	}
	var fault *sourceError
	if errors.As(err, &fault) {
		failure := c.log.quote(fault.sentence)
		c.log.note("%s", fault.sentence)
		c.result, err = &Compiled{Failure: failure, Recipe: c.recipe.name, Toolchain: c.result.Toolchain}, nil
	}
	c.log.close()
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return writeResult(out, c.result)
}

func (c *compilation) run(ctx context.Context) error {
	var known bool
	if c.recipe, known = recipes()[c.Language]; !known {
		return fmt.Errorf("find recipe: there is none for language %q", c.Language)
	}
	source, err := os.OpenRoot(c.Source)
	if err != nil {
		return fmt.Errorf("open source: %w", err)
	}
	defer source.Close()
	folder := path.Clean(c.Path)
	if !filepath.IsLocal(folder) {
		return faulty("Path %q leads out of the source", c.Path)
	}
	if c.root, err = source.OpenRoot(folder); err != nil {
		return faulty("There is no folder %q in the source", c.Path)
	}
	defer c.root.Close()
	c.dir = filepath.Join(c.Source, filepath.FromSlash(folder))
	c.result.Recipe = c.recipe.name
	if err := c.checkMarker(source); err != nil {
		return err
	}
	if err := c.keepIndexes(); err != nil {
		return err
	}
	if err := c.readVersions(ctx); err != nil {
		return err
	}
	if c.recipe.check != nil {
		if err := c.recipe.check(c); err != nil {
			return err
		}
	}
	for _, command := range c.recipe.commands {
		if err := c.runCommand(ctx, command); err != nil {
			return err
		}
	}
	c.log.forget()
	return c.recipe.collect(c)
}

// checkMarker looks for the file that tells the language. When it is not there, other files tell why.
func (c *compilation) checkMarker(source *os.Root) error {
	if slices.ContainsFunc(c.recipe.markers, func(name string) bool { return isFile(c.root, name) }) {
		return nil
	}
	wanted := strings.Join(c.recipe.markers, " or ")
	where := "the source"
	if c.Path != "" {
		where = fmt.Sprintf("folder %q of the source", c.Path)
	}
	if folders := findFolders(source, c.recipe.markers, 4); len(folders) > 0 {
		return faulty("There is no %s in %s, but in %s: give that folder as the build's path", wanted, where, strings.Join(folders, ", "))
	}
	for _, other := range []string{"Go", "JavaScript", "Java", "Binary"} {
		for _, marker := range recipes()[other].markers {
			if isFile(c.root, marker) {
				return faulty("There is no %s in %s, but %s: is its language %s rather than %s?", wanted, where, marker, other, c.Language)
			}
		}
	}
	return faulty("There is no %s in %s: a contract in %s needs one", wanted, where, c.Language)
}

// findFolders lists a few folders, not deep, that hold a file of one of the names.
func findFolders(root *os.Root, names []string, limit int) []string {
	var found []string
	seen := 0
	_ = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || len(found) >= limit {
			return fs.SkipAll
		}
		if seen++; seen > 10000 {
			return fs.SkipAll
		}
		if entry.IsDir() && (strings.Count(name, "/") > 2 || skipped(path.Base(name))) {
			return fs.SkipDir
		}
		if folder := path.Dir(name); entry.Type().IsRegular() && slices.Contains(names, path.Base(name)) && !slices.Contains(found, folder) {
			found = append(found, folder)
		}
		return nil
	})
	return found
}

// skipped are folders whose contents are not the contract's own.
func skipped(name string) bool {
	return name != "." && (strings.HasPrefix(name, ".") || name == "vendor" || name == "node_modules" || name == "testdata")
}

// readVersions notes what the tools say of themselves.
func (c *compilation) readVersions(ctx context.Context) error {
	for _, args := range c.recipe.versions {
		cmd, err := c.prepare(ctx, args)
		if err != nil {
			return err
		}
		var problems bytes.Buffer
		cmd.Stderr = &problems
		output, err := cmd.Output()
		if ctx.Err() != nil {
			return fmt.Errorf("ask %s for its version: it was stopped: %w", args[0], ctx.Err())
		}
		if err != nil {
			return fmt.Errorf("ask %s for its version: %w: %s", args[0], err, clip(printable(problems.Bytes()), 500))
		}
		version := clip(strings.TrimSpace(string(output)), 100)
		if len(c.recipe.versions) > 1 {
			version = args[0] + " " + version
		}
		c.result.Toolchain = strings.TrimPrefix(c.result.Toolchain+", "+version, ", ")
	}
	if c.result.Toolchain != "" {
		c.log.note("%s", c.result.Toolchain)
	}
	return nil
}

func (c *compilation) runCommand(ctx context.Context, command command) error {
	if command.when != nil && !command.when(c) {
		return nil
	}
	if command.note != "" {
		c.log.note("%s", command.note)
	}
	cmd, err := c.prepare(ctx, command.args)
	if err != nil {
		return err
	}
	c.log.note("running %s", strings.Join(cmd.Args, " "))
	c.log.forget()
	cmd.Stdout, cmd.Stderr = c.log, c.log
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("run %s: it was stopped: %w", command.args[0], ctx.Err())
	case !errors.As(err, &exit):
		return fmt.Errorf("run %s: %w", command.args[0], err)
	case exit.ExitCode() < 0:
		return faulty("%s was killed (%s): it probably needs more memory than the build's limit (spec.resources)", command.args[0], exit)
	}
	if sentence := hintFor(string(c.log.tail)); sentence != "" {
		return faulty("%s", sentence)
	}
	return faulty("%s failed (%s)", strings.Join(command.args[:2], " "), exit)
}

// prepare makes a command that has no setting but those of the recipe and the few passed ones.
func (c *compilation) prepare(ctx context.Context, args []string) (*exec.Cmd, error) {
	replace := strings.NewReplacer("{cache}", c.Cache, "{program}", filepath.Join(c.Out, layerFolder, "0", filepath.FromSlash(programPath)))
	program, err := c.find(args[0])
	if err != nil {
		return nil, err
	}
	home, err := makeHome()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = c.dir
	for _, a := range args[1:] {
		cmd.Args = append(cmd.Args, replace.Replace(a))
	}
	cmd.Args[0] = args[0]
	cmd.Env = []string{"PATH=" + c.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8", "NO_COLOR=1", "PWD=" + c.dir}
	for _, name := range passed() {
		if value := c.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	for _, setting := range c.recipe.env {
		cmd.Env = append(cmd.Env, replace.Replace(setting))
	}
	return cmd, nil
}

// makeHome makes the tools' home folder. Go's telemetry is off in it: its process would write there when go has ended.
func makeHome() (string, error) {
	home := filepath.Join(os.TempDir(), "home")
	telemetry := filepath.Join(home, ".config", "go", "telemetry")
	if err := os.MkdirAll(telemetry, 0o700); err != nil {
		return "", fmt.Errorf("make home folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off"), 0o600); err != nil {
		return "", fmt.Errorf("make home folder: %w", err)
	}
	return home, nil
}

// find looks a tool up in the PATH given, never in the source.
func (c *compilation) find(tool string) (string, error) {
	for _, folder := range filepath.SplitList(c.Getenv("PATH")) {
		file := filepath.Join(folder, tool)
		if info, err := os.Stat(file); err == nil && filepath.IsAbs(file) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	if c.recipe.missing != "" {
		return "", faulty("%s", c.recipe.missing)
	}
	return "", fmt.Errorf("find %s: it is not in this image: contracts in %s are built by another one", tool, c.Language)
}
