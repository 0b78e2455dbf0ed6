package image

import (
	"fmt"
	"os"
	"path/filepath"
)

// Places of nginx in Debian's packages and in the image, which are the same: the configurations name the module.
const (
	nginxProgram = "/usr/sbin/nginx"
	nginxModule  = "/usr/lib/nginx/modules/ngx_stream_module.so"
)

// NginxTools are the files that the image of nginx is packed from.
type NginxTools struct {
	// Program is nginx, and Module its module for streams: Debian's packages nginx-light and libnginx-mod-stream.
	Program, Module string
	// Link is heddle-link, which tells nginx of changed configurations and checks links.
	Link string
}

// FindNginx finds nginx and its module on this machine.
func FindNginx(link string) (NginxTools, error) {
	tools := NginxTools{Program: nginxProgram, Module: nginxModule, Link: link}
	for _, file := range []string{tools.Program, tools.Module} {
		if _, err := os.Stat(file); err != nil {
			return NginxTools{}, fmt.Errorf("find nginx: apt-get install nginx-light libnginx-mod-stream: %w", err)
		}
	}
	return tools, nil
}

// NginxSpec is the image of gateways and links: nginx with what it needs of this machine, and heddle-link.
func NginxSpec(tools NginxTools, version string) (Spec, error) {
	files, err := program(tools.Program, nginxProgram)
	if err != nil {
		return Spec{}, err
	}
	module, err := os.ReadFile(tools.Module)
	if err != nil {
		return Spec{}, fmt.Errorf("read nginx's module: %w", err)
	}
	libraries, err := ModuleLibraries(module)
	if err != nil {
		return Spec{}, fmt.Errorf("pack %q: %w", tools.Module, err)
	}
	link, err := program(tools.Link, "/usr/local/bin/"+filepath.Base(tools.Link))
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		Files:      merged(append(merged(files, libraries), File{Path: nginxModule, Content: module}), link),
		Env:        []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin"},
		Entrypoint: []string{nginxProgram, "-e", "/dev/stderr", "-c", "/etc/nginx/nginx.conf"},
		User:       fabricUser,
		Ports:      []string{"8443/tcp", "8444/tcp"},
		Labels: map[string]string{
			"org.opencontainers.image.version": version,
			"org.opencontainers.image.title":   "nginx of Debian, for gateways and links between sites",
		},
	}, nil
}
