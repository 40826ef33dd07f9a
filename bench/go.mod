module github.com/waybillhq/waybill/bench

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/nats-io/nats.go v1.55.0
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	github.com/waybillhq/waybill v0.0.0-00010101000000-000000000000
	github.com/waybillhq/waybill/sink/jetstream v0.0.0-00010101000000-000000000000
	github.com/waybillhq/waybill/sink/kafka v0.0.0-00010101000000-000000000000
	github.com/waybillhq/waybill/sink/rabbitmq v0.0.0-00010101000000-000000000000
	github.com/waybillhq/waybill/source/postgres v0.0.0-00010101000000-000000000000
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.47.0 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.opentelemetry.io/otel/trace v1.47.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/waybillhq/waybill/telemetry v0.0.0-00010101000000-000000000000
	go.opentelemetry.io/otel/sdk v1.47.0
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace (
	github.com/waybillhq/waybill => ..
	github.com/waybillhq/waybill/sink/jetstream => ../sink/jetstream
	github.com/waybillhq/waybill/sink/kafka => ../sink/kafka
	github.com/waybillhq/waybill/sink/rabbitmq => ../sink/rabbitmq
	github.com/waybillhq/waybill/source/postgres => ../source/postgres
	github.com/waybillhq/waybill/telemetry => ../telemetry
)
