"""What the people who run it look at: metrics, health, logs, the admin address."""
