// Package tcptable reads the kernel's tables of TCP connections of this process's network namespace: /proc/net/tcp and tcp6
// as proc(5) describes them.
package tcptable

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxLines bounds what is read of a table: far more than nginx has room for.
const maxLines = 1 << 16

// Socket is a line of a table. IPv4 addresses that are mapped into IPv6 are given as IPv4.
type Socket struct {
	Local, Remote netip.AddrPort
	Established   bool
	// Inode by which a process's descriptors name the socket.
	Inode string
}

// Each calls f for each socket. Lines that cannot be read are left out.
func Each(f func(Socket)) error {
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return fmt.Errorf("read sockets: %w", err)
		}
		err = parse(table, f)
		table.Close()
		if err != nil {
			return fmt.Errorf("read sockets: %w", err)
		}
	}
	return nil
}

// parse reads a table: number, local address, remote address and state stand first in each line, the inode is the tenth.
func parse(r io.Reader, f func(Socket)) error {
	const established = "01"
	lines := bufio.NewScanner(r)
	for n := 0; lines.Scan(); n++ {
		if n > maxLines {
			return errors.New("there is no end of them")
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		local, ok := parseAddress(fields[1])
		if !ok {
			continue
		}
		if remote, ok := parseAddress(fields[2]); ok {
			f(Socket{Local: local, Remote: remote, Established: fields[3] == established, Inode: fields[9]})
		}
	}
	return lines.Err()
}

// parseAddress reads an address in the kernel's way: words of 32 bits in the machine's order, which is little-endian.
func parseAddress(text string) (netip.AddrPort, bool) {
	host, number, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(number, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), ok
}
