"""The chat process: its event loop, the gateway it calls, the probes of open circuits."""
