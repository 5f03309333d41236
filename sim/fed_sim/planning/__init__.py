"""What a run would cost, and what it could reach, before anybody takes part in it."""
