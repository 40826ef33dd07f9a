package publish

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What is not a transaction must not compile: the message would be written outside the caller's transaction, which is
// the double write again.
func TestOnlyATransactionCompiles(t *testing.T) {
	t.Parallel()
	const program = `package p

import (
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/waybillhq/waybill"
)

var (
	_ *sql.Tx
	_ pgx.Tx
	_ *pgxpool.Tx
)

func use(v %s) waybill.Tx { return %s }
`
	check := compiler(t)
	for _, c := range []struct {
		typ, expression string
		compiles        bool
	}{
		{"*sql.Tx", "waybill.SQL(v)", true},
		{"pgx.Tx", "waybill.Pgx(v)", true},
		{"*pgxpool.Tx", "waybill.Pgx(v)", true},
		{"*sql.DB", "waybill.SQL(v)", false},
		{"*sql.Conn", "waybill.SQL(v)", false},
		{"*sql.DB", "waybill.Pgx(v)", false},
		{"*sql.Tx", "waybill.Pgx(v)", false},
		{"*sql.Conn", "waybill.Pgx(v)", false},
		{"*pgxpool.Pool", "waybill.Pgx(v)", false},
		{"*pgxpool.Conn", "waybill.Pgx(v)", false},
		{"*pgx.Conn", "waybill.Pgx(v)", false},
		{"pgx.Tx", "waybill.SQL(v)", false},
		{"*sql.Tx", "v", false},
		{"*sql.DB", "v", false},
		{"pgx.Tx", "v", false},
		{"*pgxpool.Pool", "v", false},
		{"struct{}", "waybill.Tx(v)", false},
	} {
		err := check(fmt.Sprintf(program, c.typ, c.expression))
		if (err == nil) != c.compiles {
			t.Errorf("func(v %s) { %s }: %v, want it to compile: %v", c.typ, c.expression, err, c.compiles)
		}
		if err != nil && strings.Contains(err.Error(), "import") {
			t.Errorf("func(v %s) { %s } fails for another reason: %v", c.typ, c.expression, err)
		}
	}
}

// compiler returns a type checker for one file that may import what this module can.
func compiler(t *testing.T) func(source string) error {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}",
		"database/sql", "github.com/jackc/pgx/v5/pgxpool", "github.com/waybillhq/waybill").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return func(source string) error {
		file, err := parser.ParseFile(files, "p.go", source, 0)
		if err != nil {
			return err
		}
		_, err = (&types.Config{Importer: imports}).Check("p", files, []*ast.File{file}, nil)
		return err
	}
}
