"""Example agents: copy one into ``functions/worker/agents`` and deploy. What begins with ``_`` is no agent."""
