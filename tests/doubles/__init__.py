"""Stand-ins for services on the internet, speaking their recorded wire protocols over real sockets."""
