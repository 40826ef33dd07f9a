// Package testenv starts real servers for tests: databases and brokers as child processes on loopback ports, with their files in a
// temporary folder. Nothing outlives the test process, not even when that is killed.
//
//	url := testenv.Database(t)                              // a fresh database on this process's shared cluster
//	pg := testenv.StartPostgres(t, testenv.PostgresConfig{}) // a cluster of its own, to crash: pg.Kill(); pg.Restart()
//	broker := testenv.StartNATS(t, testenv.NATSConfig{})     // file-backed JetStream, which survives Kill and Restart
//	vhost := testenv.RabbitMQVhost(t)                        // a virtual host on this process's shared RabbitMQ
//	rabbit := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{}) // a server of its own, to crash
//	kafka := testenv.StartKafka(t, testenv.KafkaConfig{Nodes: 3}) // a cluster of its own, to crash: kafka.Nodes[0].Kill()
//	brokers := testenv.KafkaBrokers(t)                       // one node for all tests of this process
//	p := testenv.Start(t, exec.Command(relayBinary, "run"))  // any program under test: p.Kill(), p.Pause(), p.Wait()
//
// A URL in the environment replaces the shared servers: WAYBILL_TEST_POSTGRES_URL (a user who may create databases),
// WAYBILL_TEST_NATS_URL, WAYBILL_TEST_KAFKA_URL ("host:port,host:port") and WAYBILL_TEST_RABBITMQ_URL (an administrator;
// WAYBILL_TEST_RABBITMQ_MANAGEMENT_URL where its HTTP API is not on port 15672). A test whose server cannot be had is
// skipped by name; WAYBILL_TEST_REQUIRE ("postgres,nats,kafka") makes that a failure, and WAYBILL_TEST_SKIPPED names a file
// that collects what was skipped.
//
// Only tests, bench, examples and cmd may import it. It needs the standard library alone.
package testenv
