"""One file per resource; each decodes, calls and encodes."""
