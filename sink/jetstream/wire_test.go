package jetstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

func TestTheBytesOnTheWireAreThoseOfTheDocumentation(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	written := make(chan string, 1)
	go func() {
		text, err := readMessage(listener)
		if err != nil {
			text = err.Error()
		}
		written <- text
	}()
	sink, err := New(listener.Addr().String(), Config{Source: "/waybill/orders"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	confirmed := make(chan error, 1)
	sink.Publish(ctx, []*relay.Message{{Pos: 4711, Incarnation: 1772366645000, Message: waybill.Message{
		ID: "0199d5f0-5b5e-7cc4-9d5f-0a1b2c3d4e5f", Topic: "orders.created", Key: "customer 7", Type: "order.created",
		ContentType: "application/json", Payload: []byte(`{"order":42}`), Time: time.Date(2026, 3, 1, 13, 4, 5, 123456000, time.FixedZone("CET", 3600)),
		Headers: []waybill.Header{{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
	}}}, func(_ int, err error) { confirmed <- err })
	got := <-written
	if err := <-confirmed; err != nil {
		t.Error(err)
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}

	page, err := os.ReadFile("../../docs/sinks/jetstream.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(page), "\nHPUB ")
	want, _, _ = strings.Cut("HPUB "+want, "```")
	if got, want := sorted(strings.ReplaceAll(got, "\r\n", "\n")), sorted(want); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// sorted makes the header lines comparable, and leaves out the inbox, which is random.
func sorted(message string) string {
	lines := strings.Split(message, "\n")
	fields := strings.Fields(lines[0])
	if len(fields) == 5 {
		fields[2] = "INBOX" + fields[2][strings.LastIndexByte(fields[2], '.'):]
	}
	lines[0] = strings.Join(fields, " ")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// readMessage is a server for one connection: it takes one message, confirms it and returns its bytes.
func readMessage(listener net.Listener) (string, error) {
	conn, err := listener.Accept()
	if err != nil {
		return "", err
	}
	fmt.Fprint(conn, "INFO {\"server_id\":\"x\",\"version\":\"2.15.2\",\"headers\":true,\"max_payload\":1048576,\"proto\":1}\r\n")
	r := bufio.NewReader(conn)
	for sid := ""; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		switch fields := strings.Fields(line); fields[0] {
		case "PING":
			fmt.Fprint(conn, "PONG\r\n")
		case "SUB":
			sid = fields[2]
		case "HPUB":
			var length int
			fmt.Sscan(fields[4], &length)
			rest := make([]byte, length+2)
			if _, err := io.ReadFull(r, rest); err != nil {
				return "", err
			}
			const ack = `{"stream":"S","seq":1}`
			fmt.Fprintf(conn, "MSG %s %s %d\r\n%s\r\n", fields[2], sid, len(ack), ack)
			go io.Copy(io.Discard, r) // until the client goes
			return line + string(rest), nil
		}
	}
}
