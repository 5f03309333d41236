"""What server, hospitals and simulation share: messages, arithmetic, privacy facts and trust."""
