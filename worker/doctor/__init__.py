"""What `llm-refresh doctor` looks at, and what it makes of it."""
