"""A site leaves: nobody asks it any more, models that it is part of are named, and none begins with it."""
