package build

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"heddle.dev/heddle/internal/specs"
)

// terminationLimit is what Kubernetes keeps of a container's last message.
const terminationLimit = 4096

// writeBuildResult writes the result so that it fits, with as much of the failure as there is room for.
func writeBuildResult(file string, result *specs.BuildResult) error {
	for {
		encoded, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("encode result: %w", err)
		}
		if len(encoded) <= terminationLimit {
			if err := os.WriteFile(file, encoded, 0o644); err != nil {
				return fmt.Errorf("write result: %w", err)
			}
			return nil
		}
		sentence, lines, found := strings.Cut(result.Failure, "\n")
		if !found {
			result.Failure = clip(result.Failure, len(result.Failure)*3/4)
			continue
		}
		// The sentence stays, and of the lines the last.
		lines = strings.ToValidUTF8(lines[len(lines)/4+1:], "")
		result.Failure = strings.TrimSuffix(sentence+"\n"+lines, "\n")
	}
}
