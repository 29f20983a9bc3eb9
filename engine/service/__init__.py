"""The service around the domain: the facade, what is kept of messages, recording, requesting, webhooks, imports."""
