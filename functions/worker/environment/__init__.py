"""What the runs of one execution environment have in common: clients, pools, shared questions."""
