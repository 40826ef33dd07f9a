package waybill

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// idMaker makes UUIDs of version 7 (RFC 9562): milliseconds, 12 bits of fraction, 62 random bits. They grow within one
// idMaker, also when the clock goes back, and the random bits make them unique in any case.
type idMaker struct{ last atomic.Uint64 }

func (m *idMaker) next() string {
	now := time.Now()
	stamp := uint64(now.UnixMilli())<<12 | uint64(now.Nanosecond()%1e6)<<12/1e6
	for {
		last := m.last.Load()
		stamp = max(stamp, last+1)
		if m.last.CompareAndSwap(last, stamp) {
			break
		}
	}
	var id [16]byte
	rand.Read(id[8:])
	binary.BigEndian.PutUint64(id[:], stamp>>12<<16|0x7000|stamp&0xfff)
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:], id[0:4])
	hex.Encode(text[9:], id[4:6])
	hex.Encode(text[14:], id[6:8])
	hex.Encode(text[19:], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
