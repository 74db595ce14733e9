"""OpenAI's wire: a translation over the same questions, rows and readers as the native routes."""
