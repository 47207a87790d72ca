//! The topics of an AI platform's telemetry, as they ship with the product.

macro_rules! topics {
    ($($name:literal),* $(,)?) => {
        /// Name and YAML of each built-in schema, by name.
        pub(super) const TOPICS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../topics/", $name, ".yaml")))),*];
    };
}

topics!(
    "agent_metric",
    "backend_health",
    "node_metric",
    "provider_feedback",
    "provider_request",
    "signal_block",
    "system_event",
    "test_run",
    "trace_span",
    "user_interaction",
);

#[cfg(test)]
mod tests {
    use crate::field::{FieldType, TimestampEncoding};
    use crate::schema::Schema;

    #[test]
    fn every_topic_can_be_read_and_has_an_event_time() {
        assert_eq!(Schema::builtin_names().len(), 10);
        assert!(Schema::builtin_names().is_sorted());
        for name in Schema::builtin_names() {
            let schema = Schema::builtin(name).expect("listed");
            assert_eq!(schema.name, name);
            assert!(schema.description.is_some(), "{name} says what it is");
            let time = schema.fields.iter().find(|field| matches!(field.field_type, FieldType::Timestamp(_)));
            assert!(time.is_some_and(|field| field.required), "{name} has a required timestamp");
            for field in &schema.fields {
                assert!(field.description.is_some(), "{name}.{} says what it is", field.name);
                let persons = ["user_id", "session_id"].contains(&field.name.as_str());
                assert!(field.personal || !persons, "{name}.{} is marked personal", field.name);
            }
        }
        assert_eq!(Schema::builtin("provider_requests"), None);
    }

    #[test]
    fn money_is_decimal_and_spans_are_in_nanoseconds() {
        let field_type = |schema: &str, field: &str| {
            let schema = Schema::builtin(schema).expect("built in");
            schema.fields[schema.index_of(field).expect("a field")].field_type.clone()
        };
        assert_eq!(field_type("provider_request", "cost_usd"), FieldType::Decimal { scale: 6 });
        assert_eq!(
            field_type("provider_request", "started_at"),
            FieldType::Timestamp(TimestampEncoding::Millis)
        );
        assert_eq!(field_type("trace_span", "started_at"), FieldType::Timestamp(TimestampEncoding::Nanos));
    }
}
