package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what lab to bring up. Zero values are defaults.
type Options struct {
	// Name tells labs on one machine apart; default "default".
	Name string
	// Sites is the number of clusters; default 1.
	Sites int
	// Nodes is the number of nodes: one number for all sites, or one for each;
	// default 1.
	Nodes []int
	// Heddle is the program that runs the lab's own processes; default: this
	// one, or in a test the one in HEDDLE_LIBEXEC.
	Heddle string
	// Libexec is the folder with kube, coredns and pause; default:
	// HEDDLE_LIBEXEC, else the folder of Heddle.
	Libexec string
}

// Lab is a lab that exists: its folder is there, its processes may be dead.
type Lab struct{ plan *Plan }

// ErrNoLab says that there is no lab of that name.
var ErrNoLab = errors.New("no such lab")

// ErrDown says that a lab is there but its processes are not.
var ErrDown = errors.New("the lab is not running")

// stopTime bounds the wait for processes and control groups to go.
const stopTime = time.Minute

// BaseDir is the folder of all labs: HEDDLE_LAB_DIR, else heddle/lab in the
// user's state folder.
func BaseDir() (string, error) {
	dir := os.Getenv("HEDDLE_LAB_DIR")
	if dir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if state == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fmt.Errorf("find the folder of labs: %w", err)
			}
			state = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(state, "heddle", "lab")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the folder of labs: %w", err)
	}
	// One lab has one name for its folder, whatever links lead there.
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	return dir, nil
}

func labDir(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	base, err := BaseDir()
	return filepath.Join(base, name), err
}

func defaultName(name string) string {
	if name == "" {
		return "default"
	}
	return name
}

// Open finds a lab that was brought up before.
func Open(name string) (*Lab, error) {
	dir, err := labDir(defaultName(name))
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile((&Plan{Dir: dir}).planFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q: make it with \"heddle lab up --name %s\"", ErrNoLab, defaultName(name), defaultName(name))
	}
	if err != nil {
		return nil, fmt.Errorf("open lab: %w", err)
	}
	l := &Lab{plan: &Plan{}}
	if err := json.Unmarshal(raw, l.plan); err != nil {
		return nil, fmt.Errorf("open lab: decode %q: %w", (&Plan{Dir: dir}).planFile(), err)
	}
	return l, nil
}

// List names the labs in the folder of labs.
func List() ([]string, error) {
	base, err := BaseDir()
	if err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(base, "*", "lab.json"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range found {
		out = append(out, filepath.Base(filepath.Dir(f)))
	}
	return out, nil
}

// Up brings a lab up and waits until it is ready. A lab that is up stays as it
// is; what is dead of it is started again. When a new lab does not come up, or
// ctx ends first, nothing of it stays.
func Up(ctx context.Context, o Options, progress func(string)) (*Lab, error) {
	if progress == nil {
		progress = func(string) {}
	}
	want, err := planFor(o)
	if err != nil {
		return nil, err
	}
	if err := checkNeeds(want.Libexec); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(want.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of labs: %w", err)
	}
	unlock, err := lock(ctx, want, progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	have, err := Open(want.Name)
	if err != nil && !errors.Is(err, ErrNoLab) {
		return nil, err
	}
	if err == nil {
		if !have.plan.sameShape(want) {
			return nil, fmt.Errorf("lab %q is there with %s: take it down first, or use another --name", want.Name, have.plan.shape())
		}
		// A lab that is started again runs the programs that are there now.
		have.plan.Heddle, have.plan.Libexec = want.Heddle, want.Libexec
		return have, have.bringUp(ctx, progress)
	}
	l := &Lab{plan: want}
	err = l.create(ctx)
	if err == nil {
		err = l.bringUp(ctx, progress)
	}
	if err != nil {
		progress("taking it down again")
		return nil, errors.Join(err, clean(context.WithoutCancel(ctx), want), os.Remove(want.lockFile()))
	}
	return l, nil
}

func planFor(o Options) (*Plan, error) {
	if o.Sites == 0 {
		o.Sites = 1
	}
	if len(o.Nodes) == 0 {
		o.Nodes = []int{1}
	}
	dir, err := labDir(defaultName(o.Name))
	if err != nil {
		return nil, err
	}
	p, err := newPlan(defaultName(o.Name), dir, o.Sites, o.Nodes)
	if err != nil {
		return nil, err
	}
	if p.Heddle = o.Heddle; p.Heddle == "" {
		if p.Heddle, err = findHeddle(); err != nil {
			return nil, err
		}
	}
	if p.Libexec = o.Libexec; p.Libexec == "" {
		if p.Libexec, err = findLibexec(p.Heddle); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Plan) shape() string {
	var parts []string
	for _, s := range p.Sites {
		parts = append(parts, fmt.Sprintf("%s (nodes: %d)", s.Name, len(s.Nodes)))
	}
	return strings.Join(parts, ", ")
}

// create makes the folder of a new lab. Whatever an earlier lab in the same
// folder may have left is removed first.
func (l *Lab) create(ctx context.Context) error {
	p := l.plan
	if err := clean(ctx, p); err != nil {
		return err
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return fmt.Errorf("make lab %q: %w", p.Name, err)
	}
	for _, s := range p.Sites {
		for _, dir := range []string{s.Dir, filepath.Join(s.Dir, "etcd"), s.volumes()} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("make lab %q: %w", p.Name, err)
			}
		}
	}
	return nil
}

// save stores the plan, which the lab's processes read.
func (p *Plan) save() error {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encode plan of lab %q: %w", p.Name, err)
	}
	return writeFile(p.planFile(), raw, 0o600)
}

// bringUp starts what does not run and waits until all is ready.
func (l *Lab) bringUp(ctx context.Context, progress func(string)) error {
	start := time.Now()
	if _, err := l.control(ctx); err != nil {
		if err := stop(ctx, l.plan); err != nil {
			return err
		}
		if err := checkWatches(l.plan); err != nil {
			return err
		}
		if err := l.startSupervisor(ctx); err != nil {
			return err
		}
		progress(fmt.Sprintf("lab %q: %s started", l.plan.Name, l.plan.shape()))
	}
	if err := l.command(ctx, "POST", "/ensure", nil); err != nil {
		return fmt.Errorf("start nodes of lab %q: %w", l.plan.Name, err)
	}
	return l.awaitReady(ctx, start, progress)
}

// startSupervisor starts the lab's long-lived process and waits until it
// answers. The process is detached: it lives on when this program ends.
func (l *Lab) startSupervisor(ctx context.Context) error {
	if err := l.plan.save(); err != nil {
		return err
	}
	if err := copyProgram(l.plan); err != nil {
		return err
	}
	out, err := openLog(filepath.Join(l.plan.Dir, "supervisor.log"))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := closeInherited(); err != nil {
		return fmt.Errorf("start supervisor of lab %q: %w", l.plan.Name, err)
	}
	argv := l.plan.role("supervisor", "")
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives this call
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, "/"
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor of lab %q: %w", l.plan.Name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		select {
		case err := <-ended:
			return false, fmt.Errorf("start supervisor of lab %q: it ended (%w): %s", l.plan.Name, err, lastLine(out.Name()))
		default:
		}
		_, err := l.control(ctx)
		return err == nil, nil
	})
}

func lastLine(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return lines[len(lines)-1]
}

func (l *Lab) control(ctx context.Context) (*controlStatus, error) {
	var out controlStatus
	return &out, l.command(ctx, "GET", "/status", &out)
}

// command asks the supervisor for something.
func (l *Lab) command(ctx context.Context, method, path string, out any) error {
	err := ask(ctx, l.plan.socket(), method, path, out)
	if errors.Is(err, errNoAnswer) && ctx.Err() == nil {
		return fmt.Errorf("%w: \"heddle lab up --name %s\" starts it again", ErrDown, l.plan.Name)
	}
	return err
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.plan.Name }

// Dir is the lab's folder.
func (l *Lab) Dir() string { return l.plan.Dir }

// Sites lists the lab's clusters in order.
func (l *Lab) Sites() []*Site {
	out := make([]*Site, 0, len(l.plan.Sites))
	for i := range l.plan.Sites {
		out = append(out, &Site{lab: l, plan: &l.plan.Sites[i]})
	}
	return out
}

// Site finds a cluster by its name; the empty name is the first one.
func (l *Lab) Site(name string) (*Site, error) {
	if name == "" {
		return l.Sites()[0], nil
	}
	s, err := l.plan.site(name)
	if err != nil {
		return nil, err
	}
	return &Site{lab: l, plan: s}, nil
}

// Cut drops all packets between two sites; Heal ends it.
func (l *Lab) Cut(ctx context.Context, a, b string) error {
	return l.command(ctx, "POST", "/cut/"+a+"/"+b, nil)
}

// CutOneWay drops all packets that go from one site to another; Heal ends it.
func (l *Lab) CutOneWay(ctx context.Context, from, to string) error {
	return l.command(ctx, "POST", "/cut-one-way/"+from+"/"+to, nil)
}

// Heal ends all cuts.
func (l *Lab) Heal(ctx context.Context) error {
	return l.command(ctx, "POST", "/heal", nil)
}
