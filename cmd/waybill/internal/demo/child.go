package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/broker"
)

// childCommand is the hidden first argument that makes a process of the same binary a child of the demo.
const childCommand = "demo-child"

// The children. The two services also name their database file and their stream.
const (
	brokerChild   = "broker"
	relayChild    = "relay"
	doubleWrite   = "double_write"
	withWaybill   = "waybill"
	subjectSuffix = ".registration" // behind the stream's name
)

// Child runs a child process of the demo. The command calls it before anything else, with its arguments behind the
// program's name; isChild is false when they mean something else.
func Child(args []string) (code int, isChild bool) {
	if len(args) != 4 || args[0] != childCommand {
		return 0, false
	}
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole terminal; the demo decides when its children end
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // the demo holds the other end and never writes: the pipe breaks when it is gone, however it went
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	name, dir, address := args[1], args[2], args[3]
	run := runService
	switch name {
	case brokerChild:
		run = runBroker
	case relayChild:
		run = runRelay
	}
	err := run(ctx, name, dir, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// runBroker is a JetStream server with its store in dir.
func runBroker(ctx context.Context, _, dir, address string) error {
	var servers broker.Servers
	defer servers.Close()
	// A killed process loses nothing that it wrote, and nobody pulls the plug here: the server's usual pace of flushing.
	_, err := servers.Start(broker.Config{Dir: dir, Listen: address, Sync: 2 * time.Minute})
	if err == nil {
		<-ctx.Done()
	}
	return err
}
