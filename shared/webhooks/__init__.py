"""Webhooks of callers: endpoints, and deliveries of events. The trigger of 0020 writes them where a chat ends."""
