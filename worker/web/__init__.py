"""The Flask shim: a thin door. It checks, enqueues and reads; it never calls the gateway."""
