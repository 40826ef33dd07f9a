package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func isName(s string) bool { return nameForm.MatchString(s) }

// defaults fills what nobody set.
func (d *decoder) defaults(v reflect.Value, path string) {
	for f := range fields(v) {
		field, child := v.FieldByIndex(f.Index), join(path, key(f))
		if field.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct {
			for _, k := range field.MapKeys() {
				element := reflect.New(f.Type.Elem()).Elem()
				element.Set(field.MapIndex(k))
				d.defaults(element, join(child, k.String()))
				field.SetMapIndex(k, element)
			}
			continue
		}
		if _, isSet := d.origin[child]; !isSet && f.Tag.Get("default") != "" {
			_ = set(field, f.Tag.Get("default"), "") // a test sets every default
		}
	}
}

// check finds what one value alone cannot show.
func (d *decoder) check(c *Config, extra func(kind, name string, c *Config) error) {
	add := func(code, path, format string, args ...any) {
		where := c.origin[path]
		d.faults = append(d.faults, &fault.Error{Code: code, Where: where, What: path + ": " + fmt.Sprintf(format, args...), Exit: fault.Usage})
	}
	for _, name := range sorted(c.Sources) {
		path := "sources." + name
		if c.Sources[name].Mode == "flagged" {
			if c.Sources[name].From == "now" {
				add("WB4508", path+".from", "mode flagged publishes whatever is not marked; mark what is not wanted, by hand")
			}
			if c.Sources[name].Retention.Age > 0 && c.Sources[name].Columns.CreatedAt == "-" {
				add("WB4508", path+".retention.age", "without a column created_at the age of a row is not known")
			}
			continue
		}
		for _, key := range sorted(c.origin) {
			if rest, ok := strings.CutPrefix(key, path+"."); ok && (rest == "topic" || rest == "type" || strings.HasPrefix(rest, "columns.")) {
				add("WB4508", key, "only sources with mode: flagged may have it")
			}
		}
	}
	owner := map[string]string{}
	for _, name := range sorted(c.Relays) {
		r, path := c.Relays[name], "relays."+name
		if _, ok := c.Sources[r.Source]; !ok && r.Source != "" {
			add("WB4507", path+".source", "there is no source %q%s", r.Source, didYouMean(r.Source, sorted(c.Sources)))
		}
		if first, taken := owner[r.Source]; taken && c.Sources[r.Source].Mode == "flagged" {
			add("WB4508", path+".source", "relay %q owns the source %q already: in mode flagged a row is marked once, for one relay", first, r.Source)
		}
		owner[r.Source] = name
		if _, ok := c.Sinks[r.Sink]; !ok && r.Sink != "" {
			add("WB4507", path+".sink", "there is no sink %q%s", r.Sink, didYouMean(r.Sink, sorted(c.Sinks)))
		}
		if name == "default" && c.Sinks[r.Sink].Kafka.Fencing {
			add("WB4508", "sinks."+r.Sink+".fencing", "relay \"default\" would take the transactional id waybill-default, and every service with a relay of that name shuts out the others on the same cluster. Try: name the relay after the service, as relays.orders with source and sink")
		}
		if c.origin[path+".send_timeout"] == "" {
			r.SendTimeout = min(r.SendTimeout, r.Lease/2)
			c.Relays[name] = r
		}
		if r.Lease < 100*time.Millisecond && r.Lease > 0 {
			add("WB4508", path+".lease", "must be at least 100ms, got %v", r.Lease)
		} else if r.SendTimeout > r.Lease/2 {
			add("WB4508", path+".send_timeout", "%v must be at most half of lease (%v), or an old owner could write beside a new one", r.SendTimeout, r.Lease)
		}
		d.topics(c, path+".topics", r, add)
	}
	d.warnOfGaps(c)
	if extra == nil {
		return
	}
	each := func(kind, name string) {
		var e *fault.Error
		if err := extra(kind, name, c); errors.As(err, &e) {
			d.faults = append(d.faults, e)
		}
	}
	for _, name := range sorted(c.Sources) {
		each("source", name)
	}
	for _, name := range sorted(c.Sinks) {
		each("sink", name)
	}
}
