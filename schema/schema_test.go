package schema

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/dialect"
)

// Apply knows what is done only from what the files say themselves.
func TestEachMigrationRecordsItself(t *testing.T) {
	t.Parallel()
	for _, d := range []dialect.Dialect{dialect.Postgres, dialect.SQLite} {
		list, err := migrations(d)
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %d migrations, %v", d.Name(), len(list), err)
		}
		b, err := of(d)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range list {
			_, name, _ := strings.Cut(m.name, "_")
			record := fmt.Sprintf("INSERT INTO %smigration (version, name) VALUES (%d, '%s');\n", b.prefix, i+1, name)
			if m.version != i+1 || !strings.HasSuffix(m.sql, record) {
				t.Errorf("%s %s does not end with %s", d.Name(), m.name, record)
			}
		}
	}
}

func TestFilesHoldsTheMigrationsAsPlainSQL(t *testing.T) {
	t.Parallel()
	dir, err := Files(dialect.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(dir, "*.sql")
	if err != nil || strings.Join(names, " ") != "0001_waybill.sql 0002_branches.sql flagged.sql roles.sql" {
		t.Errorf("got %q, %v", names, err)
	}
}

func TestSQLiteHasNoRoles(t *testing.T) {
	t.Parallel()
	if text, err := PrintRoles(dialect.SQLite); err == nil || !strings.Contains(err.Error(), "WB4303") {
		t.Errorf("got %q, %v", text, err)
	}
}
