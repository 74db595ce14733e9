"""Chats: accepted means committed, claimed by lease, answered once."""
