"""A page beside a session that learns: what it does now, and a place to label; needs the extra `web`."""
