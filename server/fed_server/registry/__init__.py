"""The register of sites: who was invited, asked, was let in or shut out, one signed line after the other."""
