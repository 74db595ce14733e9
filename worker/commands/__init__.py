"""What `llm-refresh` can be told to do."""
