package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/types"
)

// maxResult bounds the size of one CNI result file; real ones have about 1 KiB.
const maxResult = 1 << 20

// cniResult is the part of a CNI runtime's cache file that says which pod got which address.
type cniResult struct {
	Args   [][2]string `json:"cniArgs"`
	Result struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	} `json:"result"`
}

// parseResult reads one cache file. Files of other kinds hold no lease, which is no error.
func parseResult(data []byte) ([]Lease, error) {
	var res cniResult
	if err := json.Unmarshal(data, &res); err != nil {
		return nil, fmt.Errorf("read CNI result: %w", err)
	}
	var pod Lease
	for _, arg := range res.Args {
		switch arg[0] {
		case "K8S_POD_NAMESPACE":
			pod.Namespace = arg[1]
		case "K8S_POD_NAME":
			pod.Name = arg[1]
		case "K8S_POD_UID":
			pod.UID = types.UID(arg[1])
		}
	}
	if pod.UID == "" && pod.Name == "" {
		return nil, nil
	}
	var out []Lease
	for _, ip := range res.Result.IPs {
		prefix, err := netip.ParsePrefix(ip.Address)
		if err != nil {
			return nil, fmt.Errorf("read address %q of a CNI result: %w", ip.Address, err)
		}
		// The loopback interface has a result of its own, with the same pod in it.
		if pod.Addr = prefix.Addr(); !pod.Addr.IsLoopback() {
			out = append(out, pod)
		}
	}
	return out, nil
}

// readLeases reads every result in the folders. A file that is being written or removed
// just now is left out: another event about it follows.
func readLeases(folders []string) ([]Lease, error) {
	var out []Lease
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list CNI results: %w", err)
		}
		for _, e := range entries {
			if e.Type().IsRegular() {
				out = append(out, readLease(filepath.Join(folder, e.Name()))...)
			}
		}
	}
	return out, nil
}

func readLease(path string) []Lease {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxResult))
	if err != nil {
		return nil
	}
	leases, err := parseResult(data)
	if err != nil {
		return nil
	}
	for i := range leases {
		leases[i].Time = info.ModTime()
	}
	return leases
}
