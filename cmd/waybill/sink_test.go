package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/sink/kafka"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

func TestEveryFieldOfASinkHasItsKey(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		keys, fields reflect.Type
		without      []string // what the command sets by itself, or only code can
	}{
		{reflect.TypeFor[config.JetStream](), reflect.TypeFor[jetstream.Config](), []string{"Source", "Options"}},
		{reflect.TypeFor[config.Kafka](), reflect.TypeFor[kafka.Config](), []string{"Source", "TransactionalID", "TLS", "Logger", "Options"}},
		{reflect.TypeFor[config.RabbitMQ](), reflect.TypeFor[rabbitmq.Config](), []string{"Source"}},
	} {
		for f := range kind.fields.Fields() {
			key, found := kind.keys.FieldByName(f.Name)
			if !f.IsExported() || slices.Contains(kind.without, f.Name) {
				continue
			}
			if plain := strings.ReplaceAll(key.Tag.Get("yaml"), "_", ""); !found || plain != strings.ToLower(f.Name) {
				t.Errorf("%v has no key for %s", kind.keys, f.Name)
			}
		}
	}
}
