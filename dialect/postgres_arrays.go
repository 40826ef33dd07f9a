package dialect

import (
	"slices"
	"strconv"
)

// arrays returns the arguments for several rows: seven arrays of texts, the payloads, and where each starts and how long it is.
func arrays(rows []Row) []any {
	total, room := 0, 0
	for i := range rows {
		r := &rows[i]
		total += len(r.Payload)
		room += len(r.ID) + len(r.Topic) + len(r.Key) + len(r.Type) + len(r.ContentType) + len(r.Headers)*5/4 + 80
	}
	payload, l := make([]byte, 0, total), literals{buf: make([]byte, 0, room+32)}
	for i := range rows {
		payload = append(payload, rows[i].Payload...)
	}
	l.add(rows, func(b []byte, r *Row) []byte { return appendText(b, r.ID) })
	l.add(rows, func(b []byte, r *Row) []byte { return appendText(b, r.Topic) })
	l.add(rows, func(b []byte, r *Row) []byte { return appendText(b, r.Key) })
	l.add(rows, func(b []byte, r *Row) []byte { return appendText(b, r.Type) })
	l.add(rows, func(b []byte, r *Row) []byte { return appendText(b, r.ContentType) })
	l.add(rows, func(b []byte, r *Row) []byte {
		if r.Headers == "" {
			return append(b, "NULL"...)
		}
		return appendText(b, r.Headers)
	})
	l.add(rows, func(b []byte, r *Row) []byte {
		if r.Time.IsZero() {
			return append(b, "NULL"...)
		}
		return r.Time.UTC().AppendFormat(b, `"2006-01-02 15:04:05.000000+00"`)
	})
	start := 1
	l.add(rows, func(b []byte, r *Row) []byte {
		b = strconv.AppendInt(b, int64(start), 10)
		start += len(r.Payload)
		return b
	})
	l.add(rows, func(b []byte, r *Row) []byte {
		if r.Payload == nil {
			return append(b, "-1"...)
		}
		return strconv.AppendInt(b, int64(len(r.Payload)), 10)
	})
	return slices.Insert(l.strings(), 7, any(payload))
}

// literals builds array literals (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO) in one piece of memory.
type literals struct {
	buf  []byte
	ends []int
}

func (l *literals) add(rows []Row, element func([]byte, *Row) []byte) {
	for i := range rows {
		l.buf = append(l.buf, ',')
		if i == 0 {
			l.buf[len(l.buf)-1] = '{'
		}
		l.buf = element(l.buf, &rows[i])
	}
	l.buf = append(l.buf, '}')
	l.ends = append(l.ends, len(l.buf))
}

func (l *literals) strings() []any {
	all, from := string(l.buf), 0
	list := make([]any, 0, len(l.ends)+2)
	for _, end := range l.ends {
		list = append(list, all[from:end])
		from = end
	}
	return list
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(append(b, s[from:i]...), '\\')
			from = i
		}
	}
	return append(append(b, s[from:]...), '"')
}
