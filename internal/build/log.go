package build

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

const (
	// logLimit bounds the log that is kept.
	logLimit = 8 << 20
	// failureLimit bounds what a build's result quotes of it.
	failureLimit = 3000
)

// buildLog sends what tools print to the container's output and to a file, of which it keeps the first logLimit bytes
// and, of what came after, the last lines.
type buildLog struct {
	file, also io.Writer
	left       int
	dropped    int
	tail       []byte
}

func newLog(file, also io.Writer) *buildLog { return &buildLog{file: file, also: also, left: logLimit} }

// Write never fails: a build does not end because its log cannot be kept.
func (l *buildLog) Write(p []byte) (int, error) {
	_, _ = l.also.Write(p)
	kept := p[:min(len(p), l.left)]
	_, _ = l.file.Write(kept)
	l.left -= len(kept)
	l.dropped += len(p) - len(kept)
	l.tail = append(l.tail, p...)
	if len(l.tail) > 4*failureLimit {
		l.tail = append([]byte(nil), l.tail[len(l.tail)-2*failureLimit:]...)
	}
	return len(p), nil
}

func (l *buildLog) note(format string, args ...any) {
	fmt.Fprintf(l, "heddle-build: "+format+"\n", args...)
}

// close adds the end of a log that was cut.
func (l *buildLog) close() {
	if l.dropped == 0 {
		return
	}
	end := l.tail[max(0, len(l.tail)-min(2*failureLimit, l.dropped)):]
	fmt.Fprintf(l.file, "\nheddle-build: the log was cut here: %d bytes are left out but for the last\n%s", l.dropped-len(end), end)
}

// forget starts the tail anew: a failure quotes the tool that failed and none before it.
func (l *buildLog) forget() { l.tail = nil }

// quote is a sentence with the last lines of the log below it, within failureLimit.
func (l *buildLog) quote(sentence string) string {
	lines := printable(l.tail)
	if lines == "" {
		return clip(sentence, failureLimit)
	}
	sentence = clip(sentence, failureLimit/2)
	if over := len(sentence) + 1 + len(lines) - failureLimit; over > 0 {
		lines = lines[over:]
		if _, whole, found := strings.Cut(lines, "\n"); found {
			lines = whole
		}
	}
	return strings.ToValidUTF8(sentence+"\n"+lines, "")
}

// printable is text without colours and other control characters.
func printable(raw []byte) string {
	var out strings.Builder
	escape := false
	for _, r := range strings.ToValidUTF8(string(raw), "?") {
		switch {
		case escape:
			escape = r == '[' || r == ';' || unicode.IsDigit(r)
		case r == '\x1b':
			escape = true
		case r == '\n' || r == '\t' || !unicode.IsControl(r):
			out.WriteRune(r)
		}
	}
	return strings.TrimSpace(out.String())
}

func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}
