package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// labProcesses finds this program's own processes of a lab by what /proc says
// of their command lines, whoever started them.
func labProcesses(id string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && belongs(raw, id) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// belongs says whether a command line (as in /proc: parts that end in NUL) is
// one that Plan.role made for the lab id.
func belongs(cmdline []byte, id string) bool {
	parts := bytes.Split(cmdline, []byte{0})
	return len(parts) > 4 && string(parts[1]) == "lab" && string(parts[2]) == "internal" &&
		string(parts[4]) == "--lab-id="+id
}

// remains lists all processes of a lab: its own and those in its groups.
func remains(hs []hierarchy, id string) ([]int, error) {
	own, err := labProcesses(id)
	if err != nil {
		return nil, err
	}
	members, err := cgroupProcs(hs, (&Plan{ID: id}).cgroup())
	if err != nil {
		return nil, err
	}
	all := slices.Concat(own, members)
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(pid int) bool { return pid == os.Getpid() }), nil
}

// killAll ends processes at once; those already gone are no error.
func killAll(pids []int) error {
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}

// dying says whether a process has ended or is about to: process 1 of a node
// stays until everything else in its namespaces is gone, and on a busy machine
// a while passes before it takes the signal that ends it.
func dying(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || statDying(stat) {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || killPending(status)
}

// killPending reads /proc/PID/status: the signals that the process (ShdPnd) or
// its main thread (SigPnd) has still to take, as hexadecimal sets.
func killPending(status []byte) bool {
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(name) != "SigPnd" && string(name) != "ShdPnd" {
			continue
		}
		set, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		if err == nil && set&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

// statDying reads /proc/PID/stat: the state is the first field after the name
// (which may contain anything), the flags are the seventh.
func statDying(stat []byte) bool {
	const exiting = 0x4
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err != nil || flags&exiting != 0 || fields[0][0] == 'Z' || fields[0][0] == 'X'
}

// closeInherited keeps what this program was handed by whoever started it from
// going on to the programs that it starts: a lock that a script holds would
// otherwise be held for as long as the lab lives.
func closeInherited() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, e := range open {
		// One that is closed meanwhile is no error.
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
