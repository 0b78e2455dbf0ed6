package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"heddle.dev/heddle/internal/lab/modproxy"
)

const (
	// ModulesURL is where pods of every site find the caching proxy for Go
	// modules (below /go) and npm packages (below /npm).
	ModulesURL = "http://" + modulesName + "." + modulesNamespace

	modulesRole      = "modules"
	modulesName      = "modules"
	modulesNamespace = "heddle-lab"
	modulesPort      = 80
)

// ModulesCIDR is the address behind ModulesURL, for network policies: its port
// is 80.
func ModulesCIDR() string { return netip.PrefixFrom(hub(), hub().BitLen()).String() }

// hub is an address of the network in which the sites meet; a cut does not
// touch it.
func hub() netip.Addr { return addr4(10, 200, 0, 1) }

// serveModules opens the proxy's port inside the lab, and starts the proxy, in
// the machine's own network, when somebody first connects: a lab that builds
// nothing does not pay for it.
func (s *supervisor) serveModules(ctx context.Context) error {
	l, err := listenIn(ctx, s.wan.ns, netip.AddrPortFrom(hub(), modulesPort).String())
	if err != nil {
		return fmt.Errorf("open the port of the module proxy: %w", err)
	}
	defer l.Close()
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.New("open the port of the module proxy: it is not TCP")
	}
	file, err := tcp.File()
	if err != nil {
		return fmt.Errorf("open the port of the module proxy: %w", err)
	}
	defer file.Close()
	for awaitReadable(ctx, file) {
		if err := s.runModules(file); err != nil {
			s.log.Info("module proxy ended", "error", err)
		}
		if !pause(ctx, restartDelay) {
			break
		}
	}
	return ctx.Err()
}

func (s *supervisor) runModules(listener *os.File) error {
	out, err := openLog(filepath.Join(s.plan.Dir, modulesRole+".log"))
	if err != nil {
		return err
	}
	defer out.Close()
	argv := s.plan.role(modulesRole, "")
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it dies with the supervisor's thread
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{listener}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setsid: true}
	if err := s.start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// awaitReadable waits until a listening socket has a connection; false means
// that the context ended.
func awaitReadable(ctx context.Context, file *os.File) bool {
	const slice = 500 * time.Millisecond
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}} //nolint:gosec // G115: a small number
		n, err := unix.Poll(fds, int(slice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
		if n > 0 {
			return true
		}
	}
	return false
}

// runModulesRole serves modules on the socket that the supervisor opened
// inside the lab, and fetches them with the machine's network and settings.
// What was fetched is kept for all labs.
func runModulesRole(ctx context.Context, p *Plan, log *slog.Logger) error {
	file := os.NewFile(goFD, modulesRole)
	l, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("take over the port of the module proxy: %w", err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find a folder for modules: %w", err)
	}
	ctx = ctrllog.IntoContext(ctx, logr.FromSlogHandler(log.Handler()))
	return modproxy.Serve(ctx, l, modproxy.Options{Dir: filepath.Join(cache, "heddle", modulesRole), Offline: p.uplinkIsOff})
}

// SetUplink lets the module proxy fetch what it does not have, or not. Nodes and pods have no uplink anyway.
func (l *Lab) SetUplink(on bool) error {
	if !on {
		return writeFile(l.plan.uplinkOff(), nil, 0o600)
	}
	if err := os.Remove(l.plan.uplinkOff()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("turn uplink of lab %q on: %w", l.plan.Name, err)
	}
	return nil
}

func (p *Plan) uplinkIsOff() bool {
	_, err := os.Stat(p.uplinkOff())
	return err == nil
}

// modulesObjects make the proxy a Service; its one address is outside of the
// cluster.
func modulesObjects() []client.Object {
	meta := metav1.ObjectMeta{Name: modulesName, Namespace: modulesNamespace}
	slice := meta
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: modulesName, discoveryv1.LabelManagedBy: fieldOwner}
	return []client.Object{
		&corev1.Namespace{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Name: modulesNamespace},
		},
		&corev1.Service{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: meta,
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: modulesPort, Protocol: corev1.ProtocolTCP}}},
		},
		&discoveryv1.EndpointSlice{
			TypeMeta:    metav1.TypeMeta{APIVersion: discoveryv1.SchemeGroupVersion.String(), Kind: "EndpointSlice"},
			ObjectMeta:  slice,
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{hub().String()}}},
			Ports: []discoveryv1.EndpointPort{{
				Name: ptr.To("http"), Port: ptr.To[int32](modulesPort), Protocol: ptr.To(corev1.ProtocolTCP),
			}},
		},
	}
}
