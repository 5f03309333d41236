"""Released models and what vouches for them: read strictly, signed by several, trusted in one order only."""
