"""refold: an event-sourced refund engine that payment services embed. Start at `refold.engine`."""
