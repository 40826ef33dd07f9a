package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
)

// recordOverhead bounds what a batch adds to one record: the batch's own header, and the record's length, attributes and deltas.
const recordOverhead = batchHeader + 5 + 1 + 10 + 5

const batchHeader = 61

// encoder writes the parts of records that do not depend on their batch, one behind another into buffer.
type encoder struct {
	source string
	buffer []byte
	fields []field
}

// field is a header. Its name comes in two parts, for putting them together would cost a tenth of all that the sink does.
type field struct{ prefix, name, value string }

// encode returns m from its key to its last header: the attributes first, then m's own headers in their order.
func (e *encoder) encode(m *relay.Message) ([]byte, error) {
	e.fields = e.fields[:0]
	for name, value := range cloudevents.Attributes(m, e.source) {
		if name == "datacontenttype" {
			e.fields = append(e.fields, field{"", "content-type", value})
		} else {
			e.fields = append(e.fields, field{"ce_", name, value})
		}
	}
	for _, h := range m.Headers {
		if lower := strings.ToLower(h.Name); lower == "content-type" || strings.HasPrefix(lower, "ce_") {
			return nil, errHeader(m, h.Name)
		}
		e.fields = append(e.fields, field{"", h.Name, h.Value})
	}
	from, b := len(e.buffer), e.buffer
	if m.Key == "" {
		b = binary.AppendVarint(b, -1)
	} else {
		b = appendText(b, m.Key)
	}
	if m.Payload == nil {
		b = binary.AppendVarint(b, -1)
	} else {
		b = append(binary.AppendVarint(b, int64(len(m.Payload))), m.Payload...)
	}
	b = binary.AppendVarint(b, int64(len(e.fields)))
	for _, f := range e.fields {
		b = binary.AppendVarint(b, int64(len(f.prefix)+len(f.name)))
		b = append(append(b, f.prefix...), f.name...)
		b = appendText(b, f.value)
	}
	e.buffer = b
	return b[from:len(b):len(b)], nil
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendVarint(b, int64(len(text))), text...)
}

func millis(m *relay.Message) int64 {
	if m.Time.IsZero() {
		return time.Now().UnixMilli()
	}
	return max(m.Time.UnixMilli(), 0) // brokers refuse what was before 1970; ce_time has the truth
}

// producer is what a broker tells one partition's batches apart by.
type producer struct {
	id            int64
	epoch         int16
	sequence      int32
	known         bool // an id was given
	transactional bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeBatch writes a record batch of format 2, the only one since Kafka 0.11.
func encodeBatch(entries []entry, p producer, compressor kgo.Compressor) []byte {
	first, last, size := entries[0].millis, entries[0].millis, 0
	for _, e := range entries {
		last = max(last, e.millis)
		size += len(e.record) + recordOverhead - batchHeader
	}
	b := slices.Grow(spare(), batchHeader+size)[:batchHeader]
	var head []byte
	for i, e := range entries {
		head = append(head[:0], 0) // attributes, unused
		head = binary.AppendVarint(head, e.millis-first)
		head = binary.AppendVarint(head, int64(i))
		b = binary.AppendVarint(b, int64(len(head)+len(e.record)))
		b = append(append(b, head...), e.record...)
	}
	attributes := uint16(0)
	if compressor != nil {
		packed, codec := compressor.Compress(new(bytes.Buffer), b[batchHeader:])
		if len(packed) < len(b)-batchHeader {
			b = append(b[:batchHeader], packed...)
			attributes = uint16(codec)
		}
	}
	if p.transactional {
		attributes |= 0x10
	}
	be := binary.BigEndian
	clear(b[:8]) // the offset: the broker's to fill
	be.PutUint32(b[8:], uint32(len(b)-12))
	be.PutUint32(b[12:], 0xffffffff) // leader epoch: the broker's to fill
	b[16] = 2
	be.PutUint16(b[21:], attributes)
	be.PutUint32(b[23:], uint32(len(entries)-1))
	be.PutUint64(b[27:], uint64(first))
	be.PutUint64(b[35:], uint64(last))
	be.PutUint64(b[43:], uint64(p.id))
	be.PutUint16(b[51:], uint16(p.epoch))
	be.PutUint32(b[53:], uint32(p.sequence))
	be.PutUint32(b[57:], uint32(len(entries)))
	be.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// spares are buffers that nobody reads any more: to get a new one from the heap costs more than to fill it.
var spares sync.Pool

func spare() []byte {
	if b, ok := spares.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

// murmur2 is the hash of the Java client: a key lies in the same partition whoever writes it.
func murmur2(key string) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

func partitionOf(key string, partitions int) int {
	return int(murmur2(key)&0x7fffffff) % partitions
}
