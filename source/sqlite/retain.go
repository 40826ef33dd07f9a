package sqlite

import (
	"context"
	"time"

	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

var _ relay.Retainer = (*Source)(nil)

// Retain implements relay.Retainer.
func (s *Source) Retain(ctx context.Context, age time.Duration) (relay.Retention, error) {
	return s.store.Retain(ctx, sqlstore.Log{Table: s.table, Pos: "pos", CreatedAt: "created_at"}, age)
}
