"""One model call, from what an agent asks to the reply that is recorded."""
