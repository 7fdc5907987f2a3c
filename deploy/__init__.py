"""Builds the functions' bundles and puts the template into an account, local or real."""
