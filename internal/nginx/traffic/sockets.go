package traffic

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// maxSockets bounds what is read of the pod's sockets: far more than nginx has room for.
const maxSockets = 1 << 16

// openSockets counts this network namespace's established connections by local port.
func openSockets() (map[int]int, error) {
	out := map[int]int{}
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("read sockets: %w", err)
		}
		err = countSockets(f, out)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read sockets: %w", err)
		}
	}
	return out, nil
}

// countSockets reads the kernel's table: number, local address, remote address and state stand first in each line.
func countSockets(r io.Reader, out map[int]int) error {
	const established = "01"
	lines := bufio.NewScanner(r)
	for n := 0; lines.Scan(); n++ {
		if n > maxSockets {
			return errors.New("there is no end of them")
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != established {
			continue
		}
		_, text, _ := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(text, 16, 16)
		if err != nil {
			continue
		}
		out[int(port)]++
	}
	return lines.Err()
}
