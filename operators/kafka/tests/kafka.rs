//! Reading and writing Apache Kafka itself. The tests start it: they need Java 17 and Maven (see `broker/broker.sh`), or
//! the brokers of `THALWEG_TEST_BROKERS`, on which topics can be made and deleted freely.

#[path = "kafka/ends.rs"]
mod ends;
#[path = "kafka/failures.rs"]
mod failures;
#[path = "kafka/positions.rs"]
mod positions;
#[path = "kafka/records.rs"]
mod records;
#[path = "kafka/sinks.rs"]
mod sinks;
#[path = "kafka/support.rs"]
mod support;
