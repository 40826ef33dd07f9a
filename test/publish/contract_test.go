package publish

import (
	"os"
	"strings"
	"testing"
)

// The page for producers in other languages: what it shows must run.
func TestTheStatementsOfTheSQLContractRun(t *testing.T) {
	text, err := os.ReadFile("../../docs/sql-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	var statements []string
	for i, block := range strings.Split(string(text), "```") {
		if code, isSQL := strings.CutPrefix(block, "sql\n"); isSQL && i%2 == 1 && !strings.HasPrefix(code, "waybill.publish(") {
			statements = append(statements, strings.Split(code, "\n\n")...)
		}
	}
	onEach(t, func(t *testing.T, d database) {
		d.exec(t, `CREATE TABLE users (name text)`)
		ran := 0
		for _, s := range statements {
			if strings.Contains(s, "waybill_outbox") == (d.outbox == "waybill_outbox") {
				d.exec(t, s)
				ran++
			}
		}
		if got := d.stored(t); ran == 0 || len(got) == 0 || string(got[0].Payload) == "" || got[0].Topic != "users" || got[0].Key != "ada" {
			t.Errorf("%d statements stored %q", ran, got)
		}
	})
}

// Drivers of other languages send texts as varchar or leave their type to the server, and bytes as bytea.
func TestTheFunctionTakesParametersOfAnyDriver(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, query := range []string{
		`PREPARE untyped AS SELECT waybill.publish($1, $2, $3, $4)`,
		`EXECUTE untyped('t', 'k', 'n', '{"a":1}')`,
		`PREPARE jdbc (varchar, varchar, varchar, varchar) AS SELECT waybill.publish($1, $2, $3, $4)`,
		`EXECUTE jdbc('t', 'k', 'n', '{"a":1}')`,
		`PREPARE bytes (text, text, text, bytea) AS SELECT waybill.publish($1, $2, $3, $4)`,
		`EXECUTE bytes('t', 'k', 'n', '{"a":1}')`,
	} {
		if _, err := conn.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	got := d.stored(t)
	if len(got) != 3 {
		t.Fatalf("stored %q", got)
	}
	for _, m := range got {
		if string(m.Payload) != `{"a":1}` {
			t.Errorf("stored %q", m)
		}
	}
}
