package build

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"
)

// errMemory ends the container with an error even where the tools came to terms with it: the kubelet takes a container
// of which the kernel killed a process for failed, whatever its exit code, and starts none after it. With an exit code
// of 0 the pod would then be pending up to the Job's deadline.
var errMemory = errors.New("the build ran out of memory: the kernel killed one of its processes")

// memoryFiles are where the kernel counts, in control groups version 2 and 1.
func memoryFiles() []string {
	return []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"}
}

// memoryKills is how many processes of this container the kernel has killed for its memory; 0 where it does not say.
func memoryKills(files []string) int {
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		n := countKills(bufio.NewScanner(file))
		_ = file.Close()
		return n
	}
	return 0
}

func countKills(lines *bufio.Scanner) int {
	for lines.Scan() {
		if count, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
