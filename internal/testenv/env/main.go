// Command env starts the servers that the tests use, prints the URLs that make tests and programs use them, and stops them
// when it is interrupted.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/waybillhq/waybill/internal/testenv"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	var m testenv.Main
	defer m.Close()
	postgres := testenv.StartPostgres(&m, testenv.PostgresConfig{Fsync: true})
	nats := testenv.StartNATS(&m, testenv.NATSConfig{})
	kafka := testenv.StartKafka(&m, testenv.KafkaConfig{})
	rabbitmq := testenv.StartRabbitMQ(&m, testenv.RabbitMQConfig{})
	fmt.Printf("export WAYBILL_TEST_POSTGRES_URL='%s'\n", postgres.URL())
	fmt.Printf("export WAYBILL_TEST_NATS_URL='%s'\n", nats.URL())
	fmt.Printf("export WAYBILL_TEST_KAFKA_URL='%s'\n", strings.Join(kafka.Brokers(), ","))
	fmt.Printf("export WAYBILL_TEST_RABBITMQ_URL='%s' WAYBILL_TEST_RABBITMQ_MANAGEMENT_URL='%s'\n", rabbitmq.URL(), rabbitmq.ManagementURL())
	fmt.Println("# running until interrupted; the data goes with it")
	<-stop
}
