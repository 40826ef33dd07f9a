package store

import (
	"database/sql"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/flagged"
	"github.com/waybillhq/waybill/source/sqlite"
)

// unsynced returns how many pages of a file a power failure would take: those that the kernel has not written.
// https://man7.org/linux/man-pages/man2/cachestat.2.html
func unsynced(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var whole [2]uint64
	var stat struct{ cache, dirty, writeback, evicted, recentlyEvicted uint64 }
	const cachestat = 451
	if _, _, errno := syscall.Syscall6(cachestat, f.Fd(), uintptr(unsafe.Pointer(&whole)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0); errno != 0 {
		t.Skipf("the kernel does not tell what is synced (cachestat: %v): needs Linux 6.5", errno)
	}
	return stat.dirty + stat.writeback
}

// SQLite's writers with synchronous=NORMAL leave the write-ahead log unsynced. What a source has returned must be on disk.
func TestSQLiteReturnsOnlyWhatIsSynced(t *testing.T) {
	t.Parallel()
	type both interface {
		relay.Source
		relay.Store
	}
	for name, of := range map[string]struct {
		table string
		open  func(*sql.DB) (both, error)
	}{
		"sqlite": {"waybill_outbox", func(db *sql.DB) (both, error) { return sqlite.New(db, sqlite.Config{}) }},
		"flagged": {"waybill_outbox_flagged", func(db *sql.DB) (both, error) {
			return flagged.New(db, dialect.SQLite, flagged.Config{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := sqliteFile(t)
			db := open(t)
			var file string
			if err := db.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file); err != nil {
				t.Fatal(err)
			}
			source, err := of.open(open(t))
			if err != nil {
				t.Fatal(err)
			}
			acquire(t, source, "a")
			reader, err := source.Open(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			dirty := false
			for i := range 20 {
				tx := begin(t, db, dialect.SQLite, of.table)
				tx.Publish(message(string(rune('a' + i))))
				tx.Commit()
				dirty = dirty || unsynced(t, file+"-wal") > 0
				if batch, err := reader.Read(t.Context(), relay.Budget{Messages: 1, Bytes: 1}); err != nil || len(batch.Messages) != 1 {
					t.Fatalf("read %v, %v", batch.Messages, err)
				}
				if n := unsynced(t, file+"-wal"); n > 0 {
					t.Fatalf("%d pages of the write-ahead log are not on disk", n)
				}
			}
			if !dirty {
				t.Skip("this file system has nothing unsynced: needs a disk, not memory")
			}
		})
	}
}
