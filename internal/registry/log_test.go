package registry

import (
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/sirupsen/logrus" //nolint:depguard // as in what is tested
)

func TestQuiet(t *testing.T) {
	var out strings.Builder
	quiet(funcr.New(func(_, args string) { out.WriteString(args) }, funcr.Options{}))
	defer quiet(logr.Discard())
	logrus.Info("each request")
	logrus.WithField("http.response.status", 404).Error("a client's fault")
	if out.Len() > 0 {
		t.Errorf("log says %s", out.String())
	}
	logrus.WithFields(logrus.Fields{"http.response.status": 500, "err.detail": "disk is full", "http.request.headers": "secret"}).Error("response completed with error")
	if got := out.String(); !strings.Contains(got, "disk is full") || strings.Contains(got, "secret") {
		t.Errorf("log says %q", got)
	}
}
