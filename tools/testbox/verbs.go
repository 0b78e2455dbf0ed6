package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// patience bounds each try to reach something.
const patience = 5 * time.Second

type verb struct {
	args int // how many it needs at least
	run  func(ctx context.Context, args []string) error
}

func verbs() map[string]verb {
	return map[string]verb{
		"serve":   {0, serve},   // serve [ADDRESS]: answer HTTP until told to stop
		"echo":    {1, echo},    // echo ADDRESS: send back what comes in over TCP
		"get":     {1, get},     // get URL: print the answer
		"dial":    {1, dial},    // dial HOST:PORT: succeed when TCP connects
		"loop":    {1, loop},    // loop HOST:PORT: dial each second, print what happened
		"resolve": {1, resolve}, // resolve NAME: print the addresses
		"sleep":   {0, sleep},   // sleep: wait until told to stop
		"cat":     {1, cat},     // cat FILE…
		"write":   {1, write},   // write FILE TEXT…
		"ls":      {1, list},    // ls FOLDER
		"eat":     {1, eat},     // eat MIB: use memory, then wait
		"false":   {0, fail},    // false: fail at once
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"serve"}
	}
	v, ok := verbs()[args[0]]
	if !ok {
		return fmt.Errorf("unknown verb %q", args[0])
	}
	if len(args)-1 < v.args {
		return fmt.Errorf("%s needs %d arguments", args[0], v.args)
	}
	return v.run(ctx, args[1:])
}

func serve(ctx context.Context, args []string) error {
	address := ":8080"
	if len(args) > 0 {
		address = args[0]
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr: address, ReadHeaderTimeout: patience,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "hello from %s to %s\n", host, r.RemoteAddr)
		}),
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func echo(ctx context.Context, args []string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stopped()
	for {
		connection, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = connection.Close() }()
			_, _ = io.Copy(connection, connection)
		}()
	}
}

func get(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func dial(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("connected to", connection.RemoteAddr())
	return connection.Close()
}

func loop(ctx context.Context, args []string) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if err := dial(ctx, args); err != nil && ctx.Err() == nil {
			fmt.Println("refused:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func resolve(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, " "))
	return nil
}

func sleep(ctx context.Context, _ []string) error {
	<-ctx.Done()
	return nil
}

func cat(_ context.Context, args []string) error {
	for _, name := range args {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(content); err != nil {
			return err
		}
	}
	return nil
}

func write(_ context.Context, args []string) error {
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o600)
}

func list(_ context.Context, args []string) error {
	entries, err := os.ReadDir(args[0])
	for _, entry := range entries {
		fmt.Println(filepath.Join(args[0], entry.Name()))
	}
	return err
}

func eat(ctx context.Context, args []string) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	kept := make([]byte, mib<<20)
	for i := 0; i < len(kept); i += 4096 {
		kept[i] = 1
	}
	fmt.Println("ate", mib)
	<-ctx.Done()
	fmt.Println("kept", len(kept)>>20)
	return nil
}

func fail(context.Context, []string) error { return errors.New("as told") }
