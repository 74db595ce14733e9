"""What we add to Flower: its login and pages, and the events that show how chats ended."""
