"""The Kortex API on the wire: messages, services, frames and a client of our own."""
