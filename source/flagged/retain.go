package flagged

import (
	"context"
	"fmt"
	"time"

	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

var _ relay.Retainer = (*Source)(nil)

// Retain implements relay.Retainer: rows go that are marked. No cursor counts.
func (s *Source) Retain(ctx context.Context, age time.Duration) (relay.Retention, error) {
	c := s.cfg.Columns
	if c.CreatedAt == "" {
		return relay.Retention{}, fmt.Errorf("waybill: WB1405 the age of a row of %s is not known: Columns.CreatedAt is None. "+
			"Try: a column with DEFAULT now(), or delete by means of your own", s.cfg.Table)
	}
	return s.store.Retain(ctx, sqlstore.Log{Table: s.cfg.Table, Pos: c.Pos, CreatedAt: c.CreatedAt, Published: c.IsPublished}, age)
}
