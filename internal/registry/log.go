package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus" //nolint:depguard // distribution logs with it, and this is where that ends
)

// quiet makes distribution log nothing of its own: each request would be several lines. Its errors that are not a
// client's go to our log. The logger is one for the process, so this is for Run.
func quiet(log logr.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.ErrorLevel)
	hooks := logrus.LevelHooks{}
	hooks.Add(forward{log})
	logrus.StandardLogger().ReplaceHooks(hooks)
}

type forward struct{ log logr.Logger }

// Levels are those of errors.
func (forward) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel}
}

// Fire passes the message on; headers of the request stay behind.
func (f forward) Fire(e *logrus.Entry) error {
	if status, ok := e.Data["http.response.status"].(int); ok && status < http.StatusInternalServerError {
		return nil
	}
	err := errors.New(e.Message)
	if detail, ok := e.Data["err.detail"]; ok && detail != nil {
		err = fmt.Errorf("%s: %v", e.Message, detail)
	}
	f.log.Error(err, "Registry storage", "method", e.Data["http.request.method"], "uri", e.Data["http.request.uri"])
	return nil
}
