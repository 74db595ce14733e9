"""What is known of a model beside its id: its name's words, its provider, its capabilities."""
