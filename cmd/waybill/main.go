// Command waybill relays the messages that services write into their databases to a message broker.
package main

import (
	"os"

	"github.com/waybillhq/waybill/cmd/waybill/internal/demo"
)

func main() {
	if code, isChild := demo.Child(os.Args[1:]); isChild {
		os.Exit(code)
	}
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
