// Makes what a cluster needs before it starts; what to make comes as JSON on standard input.
//
//	make certificates FOLDER   NAME.crt and NAME.key for each of
//	                           [{"name", "common", "groups", "dns", "addresses"}], all signed by
//	                           ca.crt, which is made first unless it is there
//	make image FILE            a docker archive, for `ctr images import`, of
//	                           {"name", "files": {"/in/image": "/on/host"}, "entrypoint", "user"}
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: make certificates FOLDER | make image FILE")
	}
	input := json.NewDecoder(os.Stdin)
	input.DisallowUnknownFields()
	switch arguments[0] {
	case "certificates":
		var wanted []certificate
		if err := input.Decode(&wanted); err != nil {
			return err
		}
		return makeCertificates(arguments[1], wanted)
	case "image":
		var wanted image
		if err := input.Decode(&wanted); err != nil {
			return err
		}
		return makeImage(arguments[1], wanted)
	}
	return fmt.Errorf("no command %q", arguments[0])
}
