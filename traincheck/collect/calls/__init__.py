"""What is recorded of one call: its API, arguments, context, site and step."""
