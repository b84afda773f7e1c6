"""PostgreSQL as the store of several replicas: records, events of streams, signals, and which replicas are alive."""
