package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"heddle.dev/heddle/internal/specs/launch"
)

const (
	chaincodeFile  = "chaincode.json"
	chaincodeLimit = 1 << 20
	// cleanTimeout bounds what is done after the end: the peer waits five seconds and then kills.
	cleanTimeout = 4 * time.Second
	// sweepGrace lets the kubelet say why a contract ended that has just done so: the record of launches tells it.
	sweepGrace = 1
)

// launcher is one launch of one contract.
type launcher struct {
	api      *api
	log      io.Writer
	peer     launch.Peer
	contract launch.Contract
	settings launch.Settings
	name     string
}

// run launches a contract and stays while it lives. It is the peer's call for a
// contract that does not run; that it ends with an error is what callers are told.
func run(ctx context.Context, args []string, log io.Writer) error {
	l, err := newLauncher(args, log)
	if err != nil {
		return err
	}
	if err := l.configure(ctx); err != nil {
		return err
	}
	pod, err := l.create(ctx)
	if err == nil {
		err = l.follow(ctx, pod)
	}
	if e := l.clean(context.WithoutCancel(ctx)); e != nil {
		err = errors.Join(err, e)
	}
	return err
}

func newLauncher(args []string, log io.Writer) (*launcher, error) {
	output, err := os.OpenRoot(args[0])
	if err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	defer closeAll(output)
	metadata, err := os.OpenRoot(args[1])
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	defer closeAll(metadata)
	k, err := kindOf(output)
	if err != nil {
		return nil, err
	}
	if _, ok := k.(k8s); !ok {
		return nil, fmt.Errorf("a package of type %s is not launched: its contract runs by itself", k.label())
	}
	content, err := readFile(output, imageFile, imageLimit)
	if err != nil {
		return nil, err
	}
	l := &launcher{log: &sharedLog{to: log}, peer: launch.Peer{
		Node: os.Getenv(launch.EnvNode), Network: os.Getenv(launch.EnvNetwork), NetworkID: os.Getenv(launch.EnvNetworkID),
		PodName: os.Getenv(launch.EnvPodName), PodUID: os.Getenv(launch.EnvPodUID), PodIP: os.Getenv(launch.EnvPodIP),
	}}
	if l.peer.Node == "" || l.peer.Network == "" || l.peer.PodName == "" || l.peer.PodUID == "" {
		return nil, fmt.Errorf("%s, %s, %s or %s is not set: the peer has to pass them on (propagateEnvironment)",
			launch.EnvNode, launch.EnvNetwork, launch.EnvPodName, launch.EnvPodUID)
	}
	if l.contract, err = readContract(metadata); err != nil {
		return nil, err
	}
	if l.contract.Image, err = parseImage(content); err != nil {
		return nil, fmt.Errorf("read %s: %w", imageFile, err)
	}
	l.name = launch.Name(l.peer, l.contract)
	l.api, err = newAPI(os.Getenv(launch.EnvAPI), os.Getenv)
	return l, err
}

// readContract reads what the peer says of the contract. The names of the fields
// are the peer's (core/container/externalbuilder in Fabric).
func readContract(metadata *os.Root) (launch.Contract, error) {
	content, err := readFile(metadata, chaincodeFile, chaincodeLimit)
	if err != nil {
		return launch.Contract{}, err
	}
	var c struct {
		ID      string `json:"chaincode_id"`
		Address string `json:"peer_address"`
		Cert    string `json:"client_cert"`
		Key     string `json:"client_key"`
		Root    string `json:"root_cert"`
		MSPID   string `json:"mspid"`
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return launch.Contract{}, fmt.Errorf("parse %s: %w", chaincodeFile, err)
	}
	if c.ID == "" || c.Address == "" {
		return launch.Contract{}, fmt.Errorf("parse %s: chaincode_id or peer_address is missing", chaincodeFile)
	}
	return launch.Contract{PackageID: c.ID, Address: c.Address, MSPID: c.MSPID, Cert: c.Cert, Key: c.Key, Root: c.Root}, nil
}

// configure reads the operator's settings. Packages of other tools have none.
func (l *launcher) configure(ctx context.Context) error {
	var settings corev1.ConfigMap
	label := l.contract.Label()
	err := l.api.do(ctx, http.MethodGet, l.path("configmaps", launch.SettingsConfigMap(label)), nil, nil, &settings)
	if isCode(err, http.StatusNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read settings of contract %q: %w", label, err)
	}
	text, ok := settings.Data[launch.SettingsKey]
	if !ok {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &l.settings); err != nil {
		return fmt.Errorf("parse settings of contract %q: %w", label, err)
	}
	return nil
}

func (l *launcher) path(kind, name string) string {
	p := "/api/v1/namespaces/" + l.peer.Network + "/" + kind
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// create makes the Secret and the Pod, after what a former launch left behind.
func (l *launcher) create(ctx context.Context) (*corev1.Pod, error) {
	if err := l.sweep(ctx); err != nil {
		return nil, err
	}
	secret := launch.Secret(l.peer, l.contract, l.settings)
	err := l.api.do(ctx, http.MethodPost, l.path("secrets", ""), nil, secret, nil)
	if err != nil && !isCode(err, http.StatusConflict) {
		return nil, fmt.Errorf("create Secret %q: %w", l.name, err)
	}
	pod := &corev1.Pod{}
	if err := l.api.do(ctx, http.MethodPost, l.path("pods", ""), nil, launch.Pod(l.peer, l.contract, l.settings), pod); err != nil {
		return nil, fmt.Errorf("create Pod %q: %w", l.name, err)
	}
	l.say("launches %s as pod %s", l.contract.PackageID, l.name)
	return pod, nil
}

// sweep deletes pods of this peer that serve the same package or have ended: a
// peer that was killed could not.
func (l *launcher) sweep(ctx context.Context) error {
	var pods corev1.PodList
	query := url.Values{"labelSelector": {labels.SelectorFromSet(launch.Selects(l.peer.Node)).String()}}
	if err := l.api.do(ctx, http.MethodGet, l.path("pods", ""), query, nil, &pods); err != nil {
		return fmt.Errorf("list contracts of this peer: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
		if pod.Annotations[launch.AnnotationPackageID] != l.contract.PackageID && !ended {
			continue
		}
		if err := l.remove(ctx, pod.Name, sweepGrace); err != nil {
			return err
		}
	}
	return nil
}

// clean deletes the Pod and the Secret.
func (l *launcher) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	return l.remove(ctx, l.name, 0)
}

func (l *launcher) remove(ctx context.Context, name string, grace int) error {
	now := url.Values{"gracePeriodSeconds": {strconv.Itoa(grace)}}
	var errs []error
	for _, kind := range []string{"pods", "secrets"} {
		err := l.api.do(ctx, http.MethodDelete, l.path(kind, name), now, nil, nil)
		if err != nil && !isCode(err, http.StatusNotFound) {
			errs = append(errs, fmt.Errorf("delete %s %q: %w", kind, name, err))
		}
	}
	return errors.Join(errs...)
}

// sharedLog lets the launch and what copies the contract's log write to one log.
type sharedLog struct {
	mu sync.Mutex
	to io.Writer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

// say tells the peer's log.
func (l *launcher) say(format string, args ...any) {
	fmt.Fprintf(l.log, "heddle-builder: "+format+"\n", args...)
}
