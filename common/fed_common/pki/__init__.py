"""Who is who on the line: names in certificates, how they are checked, how a site is enrolled."""
