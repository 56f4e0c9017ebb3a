// What runs in test pods: the sandbox's placeholder, and a client for looking around.
//
//	pod                     waits for SIGTERM, reaping orphans (also the pause image)
//	pod resolve NAME        prints the addresses that the pod's DNS has for NAME
//	pod get URL             prints status and body; certificates are not checked
//	pod serve PORT TEXT     answers every HTTP request with TEXT
//
// A client's certificate for `get` is taken from $CERTIFICATE and $KEY (files), where set.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"syscall"
	"time"
)

const deadline = 10 * time.Second

func main() {
	command := append(os.Args[1:], "", "", "")
	var err error
	switch command[0] {
	case "":
		wait()
	case "resolve":
		err = resolve(command[1])
	case "get":
		err = get(command[1])
	case "serve":
		err = serve(command[1], command[2])
	default:
		err = fmt.Errorf("no command %q", command[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func wait() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

func resolve(name string) error {
	limited, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limited, name)
	sort.Strings(addresses)
	for _, address := range addresses {
		fmt.Println(address)
	}
	return err
}

func get(url string) error {
	settings := &tls.Config{InsecureSkipVerify: true}
	if file := os.Getenv("CERTIFICATE"); file != "" {
		pair, err := tls.LoadX509KeyPair(file, os.Getenv("KEY"))
		if err != nil {
			return err
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: settings}
	answer, err := (&http.Client{Timeout: deadline, Transport: transport}).Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Println(answer.StatusCode)
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func serve(port, text string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		os.Exit(0)
	}()
	return http.ListenAndServe(":"+port, http.HandlerFunc(
		func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, text) }))
}
