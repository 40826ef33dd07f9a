// Command bench measures Waybill against bare clients and hand-written code on the same servers in the same run, and
// prints the result as Markdown. The machine's speed changes from minute to minute, so it alternates the two sides and
// only the ratios count.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"

	_ "github.com/jackc/pgx/v5/stdlib"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		child(os.Args[2:])
		return
	}
	only := flag.String("only", "drain,kafka,rabbitmq,write,latency,observer", "what to measure")
	rounds := flag.Int("rounds", 3, "rounds of the drain, alternating")
	slices := flag.Int("slices", 21, "paired slices of the write side")
	million := flag.Int("million", 1_000_000, "the big backlog")
	retained := flag.Int("retained", 10_000_000, "published rows that stay in the table; 0 leaves that case out")
	flag.Parse()

	b := &bench{rounds: *rounds, slices: *slices, million: *million, retained: *retained}
	defer b.env.Close()
	b.conditions()
	for name := range strings.SplitSeq(*only, ",") {
		switch name {
		case "drain":
			b.drain()
		case "kafka":
			b.kafka()
		case "rabbitmq":
			b.rabbitmq()
		case "write":
			b.write()
		case "latency":
			b.latency()
		case "observer":
			b.observer()
		default:
			b.env.Fatalf("there is no benchmark %q", name)
		}
	}
}

type bench struct {
	env               testenv.Main
	rounds, slices    int
	million, retained int
}

func (b *bench) conditions() {
	cpu := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, ok := strings.CutPrefix(s.Text(), "model name"); ok {
				cpu = strings.TrimLeft(name, "\t :")
				break
			}
		}
		f.Close()
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("# Waybill benchmark, %s\n\n%d cores of %s, %s, load before: %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		runtime.NumCPU(), cpu, runtime.Version(), strings.Join(strings.Fields(string(load))[:3], " "))
	fmt.Println("Everything (database, broker, both sides) runs on these cores. Bodies have 512 bytes.")
}

// must ends the run on an error: a benchmark that goes on measures something else.
func (b *bench) must(err error) {
	if err != nil {
		b.env.Fatalf("%v", err)
	}
}

// database starts a PostgreSQL cluster with fsync on, on disk or in memory, with Waybill's tables.
func (b *bench) database(memory bool) (url string, db *sql.DB) {
	pg := testenv.StartPostgres(&b.env, testenv.PostgresConfig{Fsync: true, Memory: memory,
		Settings: []string{"shared_buffers=1GB", "max_wal_size=8GB", "synchronous_commit=on", "autovacuum_naptime=10s"}})
	db, err := sql.Open("pgx", pg.URL())
	b.must(err)
	b.env.Cleanup(func() { db.Close() })
	_, err = schema.Apply(context.Background(), db, dialect.Postgres)
	b.must(err)
	return pg.URL(), db
}

// run starts this program again as a child with a clean heap, and returns the fields of the line that it prints.
func (b *bench) run(args ...string) map[string]float64 {
	cmd := exec.Command(os.Args[0], append([]string{"child"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	b.must(err)
	fields := map[string]float64{}
	for word := range strings.FieldsSeq(string(out)) {
		name, value, _ := strings.Cut(word, "=")
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			b.env.Fatalf("child %v printed %q", args, out)
		}
		fields[name] = v
	}
	return fields
}

// median is also min and max, in the form med (min-max).
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)/2]
}

func (s series) String() string {
	return fmt.Sprintf("%s (%s-%s)", short(s.median()), short(slices.Min(s)), short(slices.Max(s)))
}

func short(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.0fk", v/1000)
	}
	return fmt.Sprintf("%.4g", v)
}

// over divides pairwise.
func (s series) over(base series) series {
	ratio := make(series, len(s))
	for i := range s {
		ratio[i] = s[i] / base[i]
	}
	return ratio
}
